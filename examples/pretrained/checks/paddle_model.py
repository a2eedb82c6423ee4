"""jieba's LAC against Paddle: what jieba's `nets.py` defines, put together of Paddle's operators, which load its files.

`nets.py` itself asks for `paddle.fluid`, which Paddle has no more; the operators are still there.
"""

import random
from importlib.metadata import distribution

import numpy as np
import paddle
from comparing import Comparison, example
from paddle import base

SENTENCES = ["我来到北京清华大学", "我叫孙悟空,我爱北京,我爱Python和C++。", "今天天气不错", "好"]
UNWANTED = ("BatchGate", "BatchResetHiddenPrev", "BatchHidden")  # of a GRU's outputs


class Network:
    """Runs sentences, as numbers of characters, in a program of operators."""

    def __init__(self, folder):
        self.folder, self.start = folder, paddle.static.Program()
        self.program = paddle.static.Program()
        with paddle.static.program_guard(self.program, self.start):
            words = paddle.static.data("words", [-1], "int64", lod_level=1)
            x = self.operator("lookup_table_v2", "Out", W=self.weight("word_emb", 20941, 128), Ids=words)
            for first in (0, 2):
                sides = [self.gru(self.dense(x, i, 384), i, is_reverse=bool(i % 2)) for i in (first, first + 1)]
                x = self.operator("concat", "Out", {"axis": 1}, X=sides)
            self.emission = self.dense(x, 4, 57)
            crf = self.weight("crfw", 59, 57)
            self.path = self.operator("crf_decoding", "ViterbiPath", Emission=self.emission, Transition=crf)
        self.executor = paddle.static.Executor(paddle.CPUPlace())
        self.executor.run(self.start)

    def weight(self, name, *shape):
        """A variable that the start program loads from its file."""
        for program in (self.program, self.start):
            made = program.global_block().create_var(name=name, shape=shape, dtype="float32", persistable=True)
        path = str(self.folder / name)
        self.start.global_block().append_op(type="load", outputs={"Out": [made]}, attrs={"file_path": path})
        return self.program.global_block().var(name)

    def operator(self, kind, wanted, attributes=None, others=(), **inputs):
        block = self.program.global_block()
        dtype = "int64" if kind == "crf_decoding" else "float32"
        outputs = {name: [block.create_var(dtype=dtype)] for name in (wanted, *others)}
        given = {name: value if isinstance(value, list) else [value] for name, value in inputs.items()}
        block.append_op(type=kind, inputs=given, outputs=outputs, attrs=attributes or {})
        return outputs[wanted][0]

    def dense(self, x, number, width):
        weight = self.weight(f"fc_{number}.w_0", x.shape[-1], width)
        product = self.operator("mul", "Out", X=x, Y=weight)
        return self.operator("elementwise_add", "Out", {"axis": 1}, X=product, Y=self.weight(f"fc_{number}.b_0", width))

    def gru(self, x, number, is_reverse):
        weight, bias = self.weight(f"gru_{number}.w_0", 128, 384), self.weight(f"gru_{number}.b_0", 1, 384)
        attributes = {"is_reverse": is_reverse, "origin_mode": False}
        return self.operator("gru", "Hidden", attributes, UNWANTED, Input=x, Weight=weight, Bias=bias)

    def __call__(self, places):
        """The emissions (characters, tags) and the best tags."""
        words = base.create_lod_tensor(np.array(places), [[len(places)]], paddle.CPUPlace())
        wanted = [self.emission, self.path]
        results = self.executor.run(self.program, feed={"words": words}, fetch_list=wanted, return_numpy=False)
        return np.array(results[0]), np.array(results[1])[:, 0].tolist()


def lac(rng):
    paddle.enable_static()
    ours_module = example("lac")
    ours, comparison = ours_module.Segmenter(), Comparison("lac", 1e-4)
    theirs = Network(distribution("jieba").locate_file("jieba/lac_small/model_baseline"))
    characters = list(ours.places)
    sentences = SENTENCES + ["".join(rng.choices(characters[:4000], k=rng.randint(1, 60))) for _ in range(200)]
    first, last, steps = np.split(ours.weights["crfw"], [1, 2])
    for sentence in sentences:
        scores, tags = theirs([ours.places.get(character, ours.places["OOV"]) for character in sentence])
        comparison.near(ours.scores(sentence), scores)
        comparison.same(ours_module.viterbi(ours.scores(sentence), first[0], steps, last[0]), tags)
    comparison.report(f"the operators of Paddle {paddle.__version__}")


if __name__ == "__main__":
    lac(random.Random(1))
