"""Experts that change within an episode: who acts when, and how sure that is. Reads no label."""

from typing import Any

from unbraid.report.chapters.building import drawn
from unbraid.report.estimates import counted, interval_text, n_text, value_text
from unbraid.report.figures import timeline_figure
from unbraid.report.record import RunRecord
from unbraid.report.sections import Block, Cell, KeyNumber, KeyNumbers, Paragraph, Picture, Row, Section, Table
from unbraid.report.style import mode_color

__all__ = ["over_time"]

_SHOWN_CHANGES = 12


def over_time(record: RunRecord) -> Section | None:
    """The timelines of a few held-out episodes and their changes; None where an episode has one mode throughout."""
    found = record.unbraid.get("over_time")
    if not found:
        return None
    blocks: list[Block] = [
        Paragraph(
            "Here experts take over from one another within an episode. The encoder and the policy say at every step "
            "how well each mode explains it; a chain of modes that seldom switches adds that up over the whole "
            "episode. The episodes below were held out. The probabilities are the chain's own: they were not checked "
            "against episodes left out, as those of windows are where experts keep to their episode."
        ),
        KeyNumbers(_key_numbers(found)),
        _picture(found),
    ]
    points = [point for episode in found["episodes"] for point in episode["change_points"]]
    if points:
        blocks.append(_changes_table(points))
    return Section("over-time", "Who acts when", tuple(blocks))


def _key_numbers(found: dict[str, Any]) -> tuple[KeyNumber, ...]:
    changes, rate = found["changes_per_episode"], found["switch_rate"]
    parts = (interval_text(changes), n_text(changes))
    return (
        KeyNumber("Changes an episode", value_text(changes, 2), ", ".join(part for part in parts if part)),
        KeyNumber(
            "Steps from change to change",
            value_text(1 / rate if rate > 0 else None, 0),
            "one over the rate of switching, which was estimated once from the training episodes: no interval",
        ),
    )


def _picture(found: dict[str, Any]) -> Picture:
    episodes = found["episodes"]
    n_points = sum(len(episode["change_points"]) for episode in episodes)
    return drawn(
        "timelines",
        lambda layout: timeline_figure(episodes, layout),
        alt=f"{counted(len(episodes), 'episodes')} as bars over time, coloured by mode; "
        f"{counted(n_points, 'changes')} are marked.",
        caption="Each bar is an episode. Its colour is that of the mode; where two are as likely, their mixture. A "
        "line marks a change, and a dark band where it lies nine times in ten.",
    )


def _changes_table(points: list[dict[str, Any]]) -> Table:
    rows = tuple(
        Row(
            f"episode {point['episode']}",
            (
                Cell(str(point["step"]), detail=f"{point['low_step']} to {point['high_step']}"),
                Cell(f"{point['before']} to {point['after']}"),
                Cell(f"{100 * point['probability']:.0f} %"),
            ),
            swatch=mode_color(point["after"]),
        )
        for point in points[:_SHOWN_CHANGES]
    )
    more = len(points) - len(rows)
    return Table(
        caption="Where modes change",
        corner="held-out episode",
        columns=("first step of the new mode", "modes", "is there a change?"),
        rows=rows,
        note="Below the step, where it lies nine times in ten if there is a change between the middles of the two "
        "stretches." + (f" {counted(more, 'more changes')} are in the picture." if more else ""),
    )
