"""Train a model's network on scikit-learn's small digits. Runs after the model's code. The prompt fixes the names."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def train(answer, results, epochs=60):
    """Put loss and test accuracy of each epoch, and the last predictions of the test images, into results."""
    digits, options = load_digits(), {"test_size": 0.25, "random_state": 0}
    images = digits.images[:, None] / 16  # (N, 1, 8, 8), from 0 to 1
    x, x_test, y, y_test = train_test_split(images, digits.target, stratify=digits.target, **options)
    network, rng = answer.SimpleCNN(seed=0, input_shape=(1, 8, 8)), np.random.default_rng(0)
    losses, accuracies = [], []
    for _ in range(epochs):
        # Batches of nearly the same size: a last one of three images would make a wild step.
        batches = np.array_split(rng.permutation(len(x)), len(x) // 32)
        losses.append(np.mean([network.train_step(x[batch], y[batch], 0.1) for batch in batches]))
        predicted = network.forward(x_test).argmax(axis=1)
        accuracies.append(np.mean(predicted == y_test))
    results.update(losses=losses, accuracies=accuracies, predicted=predicted, labels=y_test)
