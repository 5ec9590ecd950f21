"""The models of scikit-learn as pure functions: the module is the estimator."""
