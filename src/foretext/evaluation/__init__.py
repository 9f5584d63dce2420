"""Looking at data and models: training instances, language-model scores, neighbours."""
