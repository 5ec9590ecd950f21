"""Metrics: pure functions of (prediction, target, weight), and one mergeable mean.

    total = metrics.merge(
        metrics.accuracy(logits_1, labels_1), metrics.accuracy(logits_2, labels_2)
    )
    metrics.compute(total)             # the accuracy over both batches

A row of weight zero is an absent row, also when its values are NaN; so the mean over
padded batches, or over shards of one, is the mean over the data. Counts are float32:
exact up to 2^24.

| file | what it holds |
|---|---|
| `means` | the mean itself: `Mean`, `mean`, `merge`, `compute` |
| `regression` | errors of numbers, deviances |
| `explained` | R², D²: the share of the spread that is explained |
| `hits` | accuracies, and losses of decisions and probabilities |
| `confusion` | confusion matrices and their scores: precision, recall, F1, kappa |
| `curves` | ROC, precision and recall, at every threshold; a threshold to keep |
| `areas` | the areas under them, of classes and labels |
"""

from jaxml.metrics.areas import (
    auc,
    average_precision,
    roc_auc,
)
from jaxml.metrics.confusion import (
    balanced_accuracy,
    cohen_kappa,
    confusion_matrix,
    f1,
    f_beta,
    jaccard,
    matthews,
    multilabel_confusion,
    precision,
    recall,
)
from jaxml.metrics.curves import (
    Det,
    PrecisionRecall,
    Roc,
    det_curve,
    precision_recall_curve,
    roc_curve,
    threshold_at_precision,
)
from jaxml.metrics.explained import (
    d2_absolute,
    d2_pinball,
    d2_tweedie,
    explained_variance,
    r2,
)
from jaxml.metrics.hits import (
    accuracy,
    binary_accuracy,
    brier,
    exact_match,
    hamming,
    hinge,
    log_loss,
    top_k,
    zero_one,
)
from jaxml.metrics.means import (
    Mean,
    compute,
    mean,
    merge,
)
from jaxml.metrics.regression import (
    absolute_error,
    gamma_deviance,
    huber,
    max_error,
    median_absolute_error,
    percentage_error,
    pinball,
    poisson_deviance,
    root_squared_error,
    root_squared_log_error,
    squared_error,
    squared_log_error,
    tweedie_deviance,
)

__all__ = [
    "Det",
    "Mean",
    "PrecisionRecall",
    "Roc",
    "absolute_error",
    "accuracy",
    "auc",
    "average_precision",
    "balanced_accuracy",
    "binary_accuracy",
    "brier",
    "cohen_kappa",
    "compute",
    "confusion_matrix",
    "d2_absolute",
    "d2_pinball",
    "d2_tweedie",
    "det_curve",
    "exact_match",
    "explained_variance",
    "f1",
    "f_beta",
    "gamma_deviance",
    "hamming",
    "hinge",
    "huber",
    "jaccard",
    "log_loss",
    "matthews",
    "max_error",
    "mean",
    "median_absolute_error",
    "merge",
    "multilabel_confusion",
    "percentage_error",
    "pinball",
    "poisson_deviance",
    "precision",
    "precision_recall_curve",
    "r2",
    "recall",
    "roc_auc",
    "roc_curve",
    "root_squared_error",
    "root_squared_log_error",
    "squared_error",
    "squared_log_error",
    "threshold_at_precision",
    "top_k",
    "tweedie_deviance",
    "zero_one",
]
