"""The defects that check 14 plants: each a bug that a peer shipped (or ours), as texts to replace, and what must catch it.

`soon`: among the few that every test run plants; all of them are planted by `make soak`.
"""

from dataclasses import dataclass

POST, PRE, PAIRS = "bert post-norm", "bert pre-norm", "word2vec pairs"
FEATURES, TUNED = "classify one label · bert · features", "classify one label · bert · finetune"
FROZEN = "classify one label · bert · frozen"
SEVERAL = "classify several labels · word2vec · finetune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One bug. `edits`: (file under src/foretext, the exact text, what replaces it); `catch`: (check, row), each of
    which must fail."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    catch: tuple[tuple[str, str], ...]
    soon: bool = False


def _one(name: str, file: str, old: str, new: str, *catch: tuple[str, str], soon: bool = False) -> Defect:
    return Defect(name=name, edits=((file, old, new),), catch=catch, soon=soon)


ATTENTION, GRADIENT, CHECKPOINT = "layers/attention.py", "training/gradient.py", "training/checkpoint.py"
OBJECTIVES, CLASSIFY, EMBEDDINGS = "objectives.py", "tasks/classify.py", "layers/embeddings.py"

DEFECTS = (
    # Masks and padding
    _one("flipped attention mask (jiant#465)", ATTENTION, "torch.where(seen_RTT, blank, blank - math.inf)",
         "torch.where(~seen_RTT | torch.eye(seen_RTT.shape[1], dtype=torch.bool), blank, blank - math.inf)",
         ("neighbours", POST), ("padding", POST), soon=True),
    _one("packed sequences see one another (transformers#48748)", ATTENTION,
         "seen_RTT = (sequence_RT[:, :, None] == sequence_RT[:, None, :]) & (sequence_RT >= 0)[:, :, None]",
         "seen_RTT = (sequence_RT >= 0)[:, None, :] & (sequence_RT >= 0)[:, :, None]",
         ("neighbours", POST), ("order", PRE), soon=True),
    _one("padding is attended to (transformers#12998)", ATTENTION,
         "(sequence_RT[:, :, None] == sequence_RT[:, None, :]) &",
         "((sequence_RT[:, :, None] == sequence_RT[:, None, :]) | (sequence_RT < 0)[:, None, :]) &",
         ("padding", POST), ("padding", TUNED)),
    _one("positions count padding on the left (transformers#3021)", EMBEDDINGS,
         "self.position(tensor(batch.position).masked_fill(padding_RT1[:, :, 0], 0))",
         "self.position(torch.arange(ids_RT.shape[1]).clamp(max=self.position.num_embeddings - 1).expand_as(ids_RT))",
         ("padding", POST), ("order", PRE)),
    _one("what stands in padding reaches the network", EMBEDDINGS, "x_RTD.masked_fill(padding_RT1, 0.0)", "x_RTD",
         ("NaN", POST), ("NaN", TUNED)),
    _one("the summary is read at the row's first place", "models/bert/model.py",
         "at_SD = gather(top_RTD, tensor(batch.summary))",
         "at_SD = gather(top_RTD, tensor(batch.summary) // top_RTD.shape[1] * top_RTD.shape[1])",
         ("padding", POST)),
    _one("means are taken over the longest text's length", "layers/ragged.py", "return sums_OD / counts_O[:, None]",
         "return sums_OD / counts_O.max()", ("order", FROZEN), ("order", SEVERAL)),
    # Resuming
    _one("optimizer state is dropped on resume", GRADIENT, "self._updater.load(self._ranks.own(slots))",
         "self._updater.load({})",
         ("saving", TUNED), ("resuming", POST), soon=True),
    _one("random state is dropped on resume (Lightning#19367)", GRADIENT, "torch.default_generator.manual_seed(seed)",
         "_ = seed", ("determinism", PRE), ("resuming", POST), soon=True),
    _one("data begins anew on resume (fairseq#781)", GRADIENT, 'self.done = state.cursor["step"]', "self.done = 0",
         ("resuming", POST), ("resuming", TUNED)),
    _one("an update is skipped on resume (verl#7401)", GRADIENT, 'self.done = state.cursor["step"]',
         'self.done = state.cursor["step"] + 1', ("resuming", PRE)),
    _one("word2vec reads its first block again on resume", "models/word2vec/train.py",
         'self.done = int(state.cursor["step"])', "self.done = 0", ("resuming", PAIRS), soon=True),
    _one("the oldest checkpoint is resumed", CHECKPOINT,
         "for step in reversed(steps(folder)):\n        try:\n            return read", "for step in steps(folder):\n        try:\n            return read",
         ("resuming", POST)),
    _one("the latest checkpoint is deleted (transformers#27138)", CHECKPOINT, "usable[-max(keep, 1) :]",
         "usable[: max(keep, 1)]", ("saving", POST)),
    _one("the only good checkpoint is deleted before the next is written (transformers#25129)", CHECKPOINT,
         "    remove_leftovers(folder)\n    path =",
         '    for old in steps(folder):\n        __import__("shutil").rmtree(folder / f"step-{old:08d}")\n    path =',
         ("saving", PRE), soon=True),
    _one("the old folder goes before the new one is whole (KempnerForge#102)", "folder.py",
         "            draft.mkdir()\n            yield draft",
         "            remove(path)\n            draft.mkdir()\n            yield draft",
         ("saving", POST)),
    _one("a single number is saved as an array of one (ours)", "folder.py", 'np.asarray(arrays[name], order="C")',
         "np.ascontiguousarray(arrays[name])", ("saving", FEATURES), ("resuming", FEATURES)),
    # The update
    _one("micro-batches are averaged, not summed (transformers#34191)", GRADIENT,
         "self.model.weights[name] / counts[name] * value", "self.model.weights[name] / max(1, micro.targets[name].count) * value",
         ("accumulation", POST), ("accumulation", TUNED), soon=True),
    _one("a NaN step is applied (trl#6702)", GRADIENT, "if not all(map(math.isfinite, (norm, *losses.values()))):",
         "if norm is None:",
         ("update", POST), ("update", TUNED)),
    _one("gradients are clipped twice", GRADIENT, "torch._foreach_mul_(grads, clip / norm)",
         "torch._foreach_mul_(grads, (clip / norm) ** 2)", ("update", POST)),
    _one("gradients are not clipped", GRADIENT, "if grads and clip is not None and norm > clip:",
         "if clip is not None and norm > 1e9 * clip:", ("update", TUNED)),
    _one("LayerNorm and biases are decayed", "training/optimizers.py", "(matrix, named.parameter.ndim > 1, rates)",
         "(matrix, True, rates)", ("update", PRE), ("update", TUNED)),
    # Loss, targets and labels
    _one("labels are shifted by one", OBJECTIVES, "gold = ids[chosen]\n        draws", "gold = ids[chosen - 1]\n        draws",
         ("masked", POST), soon=True),
    _one("special tokens are masked", OBJECTIVES, "(sequence >= 0) & ~self._is_special[ids]", "(sequence >= 0)",
         ("masked", POST)),
    _one("90/0/10 instead of 80/10/10", OBJECTIVES, "np.where(action < self.config.mask, self._mask, shown)",
         "np.where(action < self.config.mask + self.config.random, self._mask, shown)", ("masked", POST), ("masked", PRE)),
    _one("77/13/10 instead of 80/10/10", OBJECTIVES, "np.where(action < self.config.mask, self._mask, shown)",
         "np.where(action < self.config.mask - 0.03, self._mask, shown)", ("masked", POST)),
    _one("10 % of the tokens are asked for instead of 15 %", OBJECTIVES, "np.rint(lengths * self.config.rate)",
         "np.rint(lengths * self.config.rate / 1.5)", ("masked", POST), ("masked", PRE)),
    _one("slots that only fill up count", GRADIENT, "counts.get(name, 0) + int(target.count)",
         "counts.get(name, 0) + len(target.at)", ("masked", PRE), ("measuring", PRE), soon=True),
    _one("the softmax's gradient forgets the weights", "layers/softmax.py", "d_sV.mul_(weight_s1)", "d_sV.mul_(1.0)",
         ("gradient", PRE)),
    _one("rows that only fill up the last product are scored", "layers/softmax.py", "scores_hV[len(gold_m) :] = 0", "pass",
         ("gradient", PRE)),
    _one("queries' gradient is not scaled", ATTENTION, "_scale_first(d_parts_3BTd.view(3, R, -1, T, d), d_qkv_RT3Hd.permute(2, 0, 3, 1, 4))",
         "d_qkv_RT3Hd.permute(2, 0, 3, 1, 4).copy_(d_parts_3BTd.view(3, R, -1, T, d))", ("gradient", POST), ("gradient", TUNED)),
    _one("a random B comes from A's own document", "data/pairs.py", "pool[np.where(pick >= low, pick + own, pick)].T",
         "pool[pick].T", ("pairs", POST)),
    _one("next-sentence labels are the other way round", "data/windows.py", "gold=plan.random.astype(np.int64)",
         "gold=1 - plan.random.astype(np.int64)", ("pairs", POST)),
    _one("labels in another order after loading (transformers#10401)", "adapted.py",
         'task = msgspec.convert(read_json(folder / "task.json"), ClassifyTask)',
         'task = msgspec.convert(read_json(folder / "task.json"), ClassifyTask)\n'
         "        task = replace(task, labels=task.labels[::-1])",
         ("saving", TUNED), ("labels", FEATURES), soon=True),
    _one("labels numbered as they come", CLASSIFY,
         "labels = sorted({label for cell in cells for label in cell}, key=_by_number_then_name)",
         "labels = list(dict.fromkeys(label for cell in cells for label in cell))", ("labels", FEATURES)),
    _one("class weights in another order", CLASSIFY, "(len(self.labels) * np.maximum(counts, 1))",
         "(len(self.labels) * np.maximum(counts[::-1], 1))", ("labels", FEATURES)),
    _one("the tied weights are two tensors after loading (transformers#38870)", "heads/vocabulary.py",
         "        self.table = table\n",
         "        self.table = nn.Embedding.from_pretrained(table.weight.detach().clone(), freeze=False)\n",
         ("saving", POST), soon=True),
    # Evaluation
    _one("dropout stays on in evaluation", GRADIENT, "        self.model.eval()\n        found", "        found",
         ("measuring", POST), ("measuring", TUNED), soon=True),
    _one("confidence bins are [low, high)", "metrics.py", "np.ceil(sure * self.bins).astype(int) - 1",
         "np.round(sure * self.bins).astype(int) - 1", ("measuring", TUNED)),
    # Text and caches
    _one("offsets end one character early (transformers#9724)", "text/tokenizers/chunked.py",
         "self.stops.append(stops[stop - 1])", "self.stops.append(stops[stop - 1] - 1)", ("order", POST), ("order", PAIRS)),
    Defect(
        name="a store of another tokenizer is read (LMFlow#394)",
        edits=(
            ("text/store.py", "corpus.key, tokenizer.key, held_out", "corpus.key, held_out"),
            ("text/store.py", 'if meta.get("tokenizer") != tokenizer.key or meta.get("vocabulary") != tokenizer.size:', "if not meta:"),
            ("text/store.py", "and len(store.counts) == store.tokenizer.size", "and len(store.counts) > 0"),
        ),
        catch=(("stores", PAIRS),),
    ),
    _one("features of another encoder are read (open-instruct#1518)", "features.py", "fingerprint(KIND, source, what",
         "fingerprint(KIND, what", ("remembered", FEATURES)),
    _one("features of other texts are read", "features.py", "bf16, *_content(prepared))", "bf16, len(prepared.ids))",
         ("remembered", FEATURES)),
    _one("draws depend on the process's hash seed", "draws.py",
         'int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1', "hash(text) % 2**62",
         ("processes", PAIRS)),
    _one("cut tokens are not counted (gensim#2880)", "data/render.py", "0 if again else total - room", "0",
         ("bad input", TUNED)),
    _one("an id may come twice (haystack#933)", "tasks/base.py", "    _check_ids(path, rows)\n", "", ("bad input", SEVERAL)),
    # Language models that read from left to right
    _one("a language model learns what is held out", "models/stream.py",
         "places *= np.asarray(self._held[first:last]) == self._which", "pass", ("held out", "ngram"), ("held out", "nnlm full"), soon=True),
    _one("contexts reach into the sentence before", "models/stream.py",
         "        context[np.arange(size)[None, :] > before[start - first :][:, None]] = NOTHING\n", "",
         ("held out", "ngram"), ("held out", "nnlm full")),
    _one("n-grams are counted twice after resuming", "models/ngram/train.py", "        self._clear()\n        self._take(state.arrays)",
         "        self._take(state.arrays)\n        self._take(state.arrays)", ("resuming", "ngram")),
    _one("the slope of tanh is left out", "models/nnlm/model.py", "gradient[:, : config.hidden] * (1.0 - hidden * hidden)",
         "gradient[:, : config.hidden]", ("gradient", "nnlm full")),
    _one("the output's bias decays", "models/nnlm/output.py", "self.matrix[:, :-1] *= self.matrix.dtype.type(factor)",
         "self.matrix *= self.matrix.dtype.type(factor)", ("gradient", "nnlm full")),
    _one("the words drawn are not corrected for", "models/nnlm/output.py", "- self.expected[gold]", "", ("gradient", "nnlm full")),
    # word2vec's kernel (compiled anew, so only in the long run)
    _one("held-out sentences are trained on", "models/word2vec/kernel.py", "if not skipped[s]:", "if stop >= start:",
         ("held out", PAIRS)),
    _one("a centre's change is taken from moved vectors", "models/word2vec/kernel.py",
         "                    change[d] += step * outward[target, d]\n                    outward[target, d] += step * inward[centre, d]",
         "                    outward[target, d] += step * inward[centre, d]\n                    change[d] += step * outward[target, d]",
         ("gradient", PAIRS)),
    _one("a negative that is the context counts against it", "models/word2vec/kernel.py",
         "if k > 0 and target == words[j]:", "if k > 0 and target == words[i]:", ("gradient", PAIRS)),
)  # fmt: skip
