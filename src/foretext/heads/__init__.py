"""Output layers: what is read off an encoder's vectors, and the loss of saying it wrong. A head owns its parameters."""
