"""A network for images of more than 100,000 weights on MNIST's test set (first 8,000 images to train on, last 2,000 to measure),
compressed in three ways and measured in ONNX Runtime.

usage: mnist_learn.py KEDGE MNIST_FOLDER OUT_FOLDER TEACHER_EPOCHS FINE_TUNE_EPOCHS STUDENT_EPOCHS
"""
import os
import sys

import numpy as np
import onnxruntime

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "harden"), os.path.join(here, "..", "train")]
import mnist  # noqa: E402
from kedge import Kedge  # noqa: E402

kedge, folder, (teacher, fine_tune, student) = Kedge(sys.argv[1], sys.argv[3]), sys.argv[2], sys.argv[4:7]
shape, pixels = mnist.read_idx(os.path.join(folder, "t10k-images-idx3-ubyte.gz"))
_, labels = mnist.read_idx(os.path.join(folder, "t10k-labels-idx1-ubyte.gz"))
mnist.write_npz(os.path.join(kedge.out, "mnist.npz"), {"x": mnist.npy(shape, pixels), "y": mnist.npy(shape[:1], labels)})
images = np.frombuffer(pixels, np.uint8).reshape(-1, 784)[8000:].astype(np.float32)
truth = np.frombuffer(labels, np.uint8)[8000:]


def accuracy(name):
    """In ONNX Runtime, with all its optimisations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(os.path.join(kedge.out, name), options, providers=["CPUExecutionProvider"])
    return 100 * (session.run(["probabilities"], {"features": images})[0].argmax(1) == truth).mean()


kedge.run("train", "--data", "mnist.npz", "--label", "y", "--arch", "cnn:32,64", "--validation", 0, "--test", .2, "--epochs", teacher,
          "-o", "cnn.onnx")
before = accuracy("cnn.onnx")
for name, words, largest_size, largest_loss in (
        ("int8", ["--int8"], .3, .5),
        # Zeros are stored, and the metadata say what was done: some bytes more.
        ("80 % of the weights pruned", ["--prune", .8, "--fine-tune-epochs", fine_tune], 1.001, 1),
        ("half of the units removed", ["--prune", .5, "--structured", "--fine-tune-epochs", fine_tune], .3, 1),
        ("student cnn:8,16,24", ["--distill", "cnn:8,16,24", "--epochs", student], .1, 2),
        ("its int8", ["--distill", "cnn:8,16,24", "--epochs", student, "--int8"], .06, 2.5)):
    report, seconds = kedge.run("compress", "cnn.onnx", "--data", "mnist.npz", *words, "-o", "small.onnx")
    small, old, new = accuracy("small.onnx"), report["before"], report["after"]
    kedge.check(old["weights"] >= 100000 and report["size_ratio"] <= largest_size and before - small <= largest_loss,
                f"{name}: accuracy {before:.2f} → {small:.2f} % in ONNX Runtime ({100 * new['accuracy']:.2f} % in kedge, {report['rows']} rows), "
                f"{report['size_ratio']:.3f} of {old['bytes']:,} bytes, {new['weights_not_zero']:,} of {old['weights']:,} weights, "
                f"{old['latency_p50_us']:.0f} → {new['latency_p50_us']:.0f} µs a row, {seconds:.0f} s of CPU")
kedge.end()
