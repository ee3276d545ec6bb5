"""Calibration in a report: a reliability diagram, and its numbers."""

from __future__ import annotations

from fastprep.evaluation.calibration import N_BINS, Bin, Calibration
from fastprep.evaluation.significance import interval
from fastprep.reports.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, axes, figure
from fastprep.reports.markup import Html, element, folded, joined, table
from fastprep.reports.scales import Scale

_SHARES = Scale(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), is_percent=True)
_WIDTH, _HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
_MOST_FADED = 0.25  # opacity of bars with the fewest predictions


def calibration_part(found: Calibration, *, several: bool) -> Html:
    """Return the reliability diagram and the expected calibration error, with where they come from.

    Parameters
    ----------
    found : Calibration
    several : bool
        Whether predictions are decisions on one label each.
    """
    what, right = "each image, by the probability of its predicted class", "is right"
    if several:
        what, right = "each label of each image, by its probability", "has the label"
    explained = (
        f"Expected calibration error {found.error:.4f}: the mean difference between the probability of predictions and the share "
        f"of them that {right}, over {what}, in {N_BINS} bins of equal width (Naeini, Cooper and Hauskrecht, AAAI 2015; "
        "Guo, Pleiss, Sun and Weinberger, ICML 2017). Chance alone keeps it above 0 where images are few."
    )
    header = ["probability", "decisions" if several else "images", "mean", right, "95% interval"]
    rows = (_row(each) for each in found.bins if each.n)
    numbers = folded("Numbers of the bins", table(header, rows, "Bins of the reliability diagram"))
    return joined((element("p", explained), _diagram(found, several=several), numbers))


def _diagram(found: Calibration, *, several: bool) -> Html:
    largest = max(each.n for each in found.bins)
    drawn = [axes(_SHARES, _SHARES, "probability of the prediction")]
    drawn += [_bar(each, largest) for each in found.bins if each.n]
    ends = {"x1": LEFT, "y1": HEIGHT - BOTTOM, "x2": WIDTH - RIGHT, "y2": TOP}
    drawn.append(element("line", **ends, class_="m"))
    share = "share that has the label" if several else "share that is right"
    keys = [element("span", f"{share}; pale where few", class_="key bars"), element("span", "calibrated", class_="key m")]
    return element("div", figure("Reliability diagram", keys, drawn), class_="charts")


def _bar(each: Bin, largest: int) -> Html:
    low, high = LEFT + each.low * _WIDTH, LEFT + each.high * _WIDTH
    height = each.right * _HEIGHT
    told = element("title", f"{_range(each)}: {each.n:,}, mean probability {each.claimed:.1%}, right {each.right:.1%}")
    place = {"x": f"{low + 1:.1f}", "width": f"{high - low - 2:.1f}", "y": f"{HEIGHT - BOTTOM - height:.1f}"}
    opacity = f"{_MOST_FADED + (1 - _MOST_FADED) * each.n / largest:.2f}"
    bar = element("rect", told, **place, height=f"{max(height, 1):.1f}", class_="bar", opacity=opacity)
    at = f"{LEFT + each.claimed * _WIDTH:.1f}"
    claimed = HEIGHT - BOTTOM - each.claimed * _HEIGHT
    gap = element("line", x1=at, x2=at, y1=f"{HEIGHT - BOTTOM - height:.1f}", y2=f"{claimed:.1f}", class_="b")
    return joined((bar, gap))


def _row(each: Bin) -> list[str]:
    low, high = interval(round(each.right * each.n), each.n)
    return [_range(each), f"{each.n:,}", f"{each.claimed:.1%}", f"{each.right:.1%}", f"{low:.1%}-{high:.1%}"]


def _range(each: Bin) -> str:
    return f"{each.low:.1%}-{each.high:.1%}"
