"""What an estimator is in another process, and in a frame of pandas."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn import datasets

import jaxml.sklearn
from jaxml.sklearn import Ridge
from tests.facade.test_parity import rows as data_of


def test_pickle_keeps_float64_in_a_process_without_it(tmp_path):
    x, y = data_of("numbers")
    models = [Ridge().fit(x, y), jaxml.sklearn.SVR().fit(x, y)]
    models.append(jaxml.sklearn.GaussianNB().fit(x, y > 1))
    joblib.dump((models, x), tmp_path / "models")
    script = (
        "import joblib, numpy as np\n"
        f"models, x = joblib.load({str(tmp_path / 'models')!r})\n"
        "assert models[0].model_.coef.dtype == np.float64\n"
        f"np.save({str(tmp_path / 'out.npy')!r}, [m.predict(x) for m in models])\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    want = [model.predict(x) for model in models]
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), want, rtol=1e-12)


def test_is_imported_where_it_is_asked_for():
    script = (
        "import sys, jaxml\n"
        "assert 'sklearn' not in sys.modules\n"
        "from jaxml.sklearn import Ridge\n"
        "assert 'sklearn' in sys.modules and 'sklearn.naive_bayes' not in sys.modules\n"
        "import jaxml.sklearn as s\n"
        "assert 'Lasso' in dir(s) and s.Ridge is Ridge\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Rigde'"):
        _ = jaxml.sklearn.Rigde


def test_names_of_features_are_kept():
    pandas = pytest.importorskip("pandas")
    frame = datasets.load_diabetes(as_frame=True).frame.iloc[:75, [2, 3, 10]]
    model = Ridge().fit(frame[["bmi", "bp"]], frame["target"])
    assert list(model.feature_names_in_) == ["bmi", "bp"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["bp", "bmi"]])
    axes = jaxml.sklearn.LinearDiscriminantAnalysis().set_output(transform="pandas")
    frame["group"] = pandas.cut(frame["target"], 3, labels=["a", "b", "c"])
    out = axes.fit_transform(frame[["bmi", "bp"]], frame["group"].astype(str))
    assert list(out) == ["lineardiscriminantanalysis0", "lineardiscriminantanalysis1"]
