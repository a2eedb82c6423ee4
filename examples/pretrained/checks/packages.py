"""g2p-en, nagisa, metapredict and silero against the code in the packages themselves."""

import random
import sys
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location
from unittest.mock import MagicMock

import numpy as np
from comparing import Comparison, example

JAPANESE = [
    "これはテストです。", "吾輩は猫である。名前はまだ無い。", "2024年10月15日、東京でＡＢＣ会議が開かれた。",
    "コーヒーを3杯飲んだ！ もう一杯", "İstanbul は美しい",  # noqa: RUF001
]  # fmt: skip


def g2p(rng):
    """Against its NumPy class; NLTK, which serves its dictionary alone, is left out."""
    for name in ("nltk", "nltk.corpus", "nltk.tokenize", "inflect"):
        sys.modules[name] = MagicMock()
    from g2p_en import G2p

    theirs, ours, comparison = G2p(), example("g2p").Speller(), Comparison("g2p", 1e-4)
    words = [word for word in theirs.homograph2features if word.isalpha()]
    words += ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz'", k=rng.randint(1, 20))) for _ in range(500)]
    for word in words:
        phonemes, logits = ours(word)
        comparison.same(phonemes, theirs.predict(word))
        x = theirs.encode(word)
        weights = [getattr(theirs, f"enc_{name}") for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
        h, before = theirs.gru(x, len(word) + 1, *weights)[:, -1], 2
        for row in logits:
            weights = [getattr(theirs, f"dec_{name}") for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
            h = theirs.grucell(theirs.dec_emb[[before]], h, *weights)
            expected = (h @ theirs.fc_w.T + theirs.fc_b)[0]
            comparison.near(row, expected)
            before = int(expected.argmax())
    comparison.report("the NumPy code of g2p-en")


def nagisa(rng):
    """Against its compiled kernels."""
    import nagisa
    import nagisa_utils

    theirs, ours, comparison = nagisa.Tagger(), example("nagisa").Tagger(), Comparison("nagisa", 1e-4)
    known = list(theirs._word2id)
    texts = JAPANESE + ["".join(rng.choices(known, k=rng.randint(1, 20))) for _ in range(300)]
    for text in texts:
        expected = theirs.tagging(text)
        comparison.same(ours(text), list(zip(expected.words, expected.postags, strict=True)))
        clean = nagisa_utils.preprocess(text)
        places = theirs._uni2id, theirs._bi2id, theirs._word2id, theirs._hp["WINDOW_SIZE"]
        features = nagisa_utils.feature_extraction(clean.lower(), *places)
        comparison.near(ours.tag_scores(clean), theirs._model.encode_ws(features))
    comparison.report("the Cython kernels of nagisa")


def metapredict(rng):
    """Against its torch module, on sequences of 1 to 600 residues, one by one there and all at once here."""
    import torch

    folder = distribution("metapredict").locate_file("metapredict/backend")
    spec = spec_from_file_location("architectures", folder / "architectures.py")
    architectures = module_from_spec(spec)
    spec.loader.exec_module(architectures)
    network = architectures.BRNN_MtM_lightning.from_checkpoint(folder / "networks/epoch099_val_loss1107.08.ckpt")
    ours, comparison = example("metapredict"), Comparison("metapredict", 1e-5)
    sequences = ["".join(rng.choices(ours.RESIDUES, k=rng.randint(1, 600))) for _ in range(100)] + ["M", "gsGS"]
    for sequence, disorder in zip(sequences, ours.Predictor()(sequences), strict=True):
        one_hot = np.eye(20, dtype=np.float32)[[ours.RESIDUES.index(one) for one in sequence.upper()]]
        with torch.no_grad():
            expected = network(torch.from_numpy(one_hot)[None])[0, :, 0].clip(0, 1)
        comparison.near(disorder, expected)
    comparison.report(f"its module in PyTorch {torch.__version__}")


def silero(sounds):
    """Against its TorchScript program with the weights of the safetensors file: its own are another training's."""
    import torch
    from safetensors.torch import load_file
    from silero_vad import load_silero_vad

    theirs, ours, comparison = load_silero_vad(), example("silero"), Comparison("silero", 1e-4)
    names = {"stft_conv.weight": "stft.forward_basis_buffer"}
    parts = {"lstm_cell": "decoder.rnn", "final_conv": "decoder.decoder.2"}
    parts |= {f"conv{number}": f"encoder.{number - 1}.reparam_conv" for number in range(1, 5)}
    weights = load_file(distribution("silero-vad").locate_file("silero_vad/data/silero_vad_16k.safetensors"))
    for name in weights.keys() - names.keys():
        part, kind = name.split(".")
        names[name] = f"{parts[part]}.{kind}"
    theirs._model.load_state_dict({names[name]: tensor for name, tensor in weights.items()})
    for path in sounds:
        samples = ours.sound(path)
        samples = np.pad(samples, (0, -len(samples) % ours.FRAME))
        detector = ours.Detector()
        with torch.no_grad():
            expected = theirs.audio_forward(torch.from_numpy(samples)[None], sr=ours.RATE)[0]
        comparison.near([detector(frame) for frame in samples.reshape(-1, ours.FRAME)], expected)
    comparison.report("its TorchScript program, with these weights")


if __name__ == "__main__":
    g2p(random.Random(1))
    nagisa(random.Random(2))
    metapredict(random.Random(3))
    silero(sys.argv[1:])
