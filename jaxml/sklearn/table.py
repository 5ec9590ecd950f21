"""The table: class of scikit-learn -> how the functional model computes it."""

from jaxml.sklearn import (
    boosting_rows,
    class_rows,
    dummy_rows,
    forest_rows,
    linear_rows,
    machine_rows,
    neighbor_rows,
    tree_rows,
)
from jaxml.sklearn.row import Row

__all__ = ["TABLE"]

TABLE: dict[str, Row] = {
    **linear_rows.ROWS,
    **class_rows.ROWS,
    **neighbor_rows.ROWS,
    **machine_rows.ROWS,
    **dummy_rows.ROWS,
    **tree_rows.ROWS,
    **forest_rows.ROWS,
    **boosting_rows.ROWS,
}
