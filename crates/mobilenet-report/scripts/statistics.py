"""What SciPy and statsmodels say, for the tests of crates/mobilenet-report/src/stats.

    python crates/mobilenet-report/scripts/statistics.py > crates/mobilenet-report/fixtures/statistics.json

Needs numpy, scipy and statsmodels. The same versions give the same file; the versions are written into it.
"""

import json
import sys

import numpy as np
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 100_000


def student():
    """Two-sided tails, from far inside to far outside, from one degree of freedom on, fractions too."""
    return [
        {"t": t, "freedom": nu, "tail": float(2 * stats.t.sf(t, nu))}
        for nu in (1.0, 1.3, 2.0, 2.71, 4.0, 10.0, 57.5, 1000.0)
        for t in (0.01, 0.5, 1.96, 4.303, 12.7, 30.0)
        if 2 * stats.t.sf(t, nu) > 1e-60
    ]


def chi_squared():
    return [{"x": x, "tail": float(stats.chi2.sf(x, 1))} for x in (1e-4, 0.3, 3.841458820694124, 12.5, 60.0, 400.0)]


def t_intervals():
    cases = ([0.81, 0.83], [0.812, 0.8166, 0.8093], [261.2, 250.3, 262.9, 259.0, 258.1], [0.5, 0.5, 0.50001])
    rows = []
    for values in cases:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        deviation = float(np.std(values, ddof=1))
        interval = [float(low), float(high)]
        rows.append({"values": values, "mean": float(np.mean(values)), "deviation": deviation, "interval": interval})
    return rows


def wilson():
    cases = ((50, 100), (0, 12), (12, 12), (4, 12), (7_771, 10_000), (9_999, 10_000))
    return [
        {"right": k, "images": n, "interval": [float(v) for v in proportion_confint(k, n, 0.05, method="wilson")]}
        for k, n in cases
    ]


def welch():
    cases = (
        ([0.40, 0.44], [0.43, 0.47]),
        ([0.40, 0.41, 0.40], [0.47, 0.48, 0.47]),
        ([0.7771, 0.7802, 0.7765], [0.7911, 0.7843, 0.7890, 0.7901]),
        ([0.90, 0.91, 0.89, 0.905, 0.9], [0.9, 0.8]),
        ([0.61234, 0.61235], [0.61236, 0.7]),
    )
    rows = []
    for first, second in cases:
        test = stats.ttest_ind(second, first, equal_var=False)
        interval = [float(end) for end in test.confidence_interval(0.95)]
        rows.append({"first": first, "second": second, "p_value": float(test.pvalue), "interval": interval})
    return rows


def mcnemars():
    """Exact below 25 images in dispute. Even splits are left out of the corrected ones: statsmodels squares |0| - 1."""
    few = ((0, 1), (5, 9), (1, 11), (0, 24), (13, 11), (12, 12))
    many = ((12, 13), (5, 20), (50, 90), (803, 911), (400, 1_400))
    rows = []
    for only_first, only_second in few + many:
        exact = only_first + only_second < 25
        table = [[1_000, only_first], [only_second, 300]]
        p = float(mcnemar(table, exact=exact, correction=True).pvalue)
        rows.append({"only_first": only_first, "only_second": only_second, "exact": exact, "p_value": p})
    return rows


def bootstraps():
    """Over images by scipy.stats.bootstrap, on each image's difference averaged over seeds. SciPy has no two-way
    bootstrap: images and seeds are drawn here by the plainest loop there is."""
    rng = np.random.default_rng(7)
    rows = []
    for seeds in ((1, 1), (3, 3), (2, 4), (1, 3)):
        n = 300
        ease = rng.normal(1.0, 1.5, n)
        network = lambda skill, count: [
            (ease + skill + rng.normal(0, 0.12) + rng.normal(0, 0.8, n) > 0).astype(float) for _ in range(count)
        ]
        first, second = np.array(network(0.0, seeds[0])), np.array(network(0.25, seeds[1]))
        gaps = second.mean(0) - first.mean(0)
        found = stats.bootstrap((gaps,), np.mean, n_resamples=RESAMPLES, method="percentile", batch=1_000, rng=rng)
        images = [float(end) for end in found.confidence_interval]
        both = None
        if min(seeds) > 1:
            drawn = np.empty(RESAMPLES)
            for i in range(RESAMPLES):
                image = rng.integers(0, n, n)
                a, b = rng.integers(0, seeds[0], seeds[0]), rng.integers(0, seeds[1], seeds[1])
                drawn[i] = second[b][:, image].mean() - first[a][:, image].mean()
            both = [float(v) for v in np.percentile(drawn, [2.5, 97.5])]
        text = lambda runs: ["".join("1" if right else "0" for right in run) for run in runs]
        rows.append({"first": text(first), "second": text(second), "images": images, "images_and_seeds": both})
    return rows


json.dump(
    {
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__},
        "student": student(),
        "chi_squared": chi_squared(),
        "t_interval": t_intervals(),
        "wilson": wilson(),
        "welch": welch(),
        "mcnemar": mcnemars(),
        "bootstrap": bootstraps(),
    },
    sys.stdout,
    indent=1,
)
print()
