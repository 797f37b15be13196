"""What the rewrite_tag filters of a pipeline are to each other and to its inputs, as far as the configuration tells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .errors import Problem
from .pipeline import Instance, Pipeline
from .router import match_route

_ELEMENT = re.compile(r"\$[A-Za-z0-9_/-]+(?:\[[^\]]*\])*")


def taken_emitter_names(pipeline: Pipeline) -> list[Problem]:
    """A problem for each filter that calls its emitter as an input is called, or another emitter."""
    taken = {name: instance for instance in pipeline.inputs for name in (instance.name, instance.alias)}
    problems = []
    for instance in _rewriting(pipeline):
        name = instance.options.emitter_name
        if name is not None and (other := taken.setdefault(name, instance)) is not instance:
            message = f"rewrite_tag: emitter_name '{name}' is taken by the {other.kind} at {other.section.origin}"
            origin = instance.section.origin_of("emitter_name")
            problems.append(Problem(message, origin, "give the emitter a name of its own", 255))
    return problems


def circles_of_tags(pipeline: Pipeline) -> list[str]:
    """A remark for each circle of filters that may hand records on to each other, with the tags on its way.

    What a filter has handed out never comes back to it, so records leave such a circle; but hardly as anybody meant.
    """
    filters = [instance for instance in pipeline.filters if instance.plugin == "rewrite_tag"]
    following = {
        number: [(tag, other) for tag in _new_tags(one) for other, two in enumerate(filters) if _takes(two, tag)]
        for number, one in enumerate(filters)
    }
    remarks = []
    for circle in _circles(following):
        first = filters[circle[-1][1]]
        beginning = first.options.match or first.options.match_regex.pattern
        way = " -> ".join([beginning, *(tag for tag, _ in circle)])
        remark = f"rewrite_tag: tags may go round in a circle: {way}; a record passes each of these filters once"
        remarks.append(f"{first.section.origin}: {remark}")
    return remarks


def _rewriting(pipeline: Pipeline) -> Iterator[Instance]:
    return (one for one in (*pipeline.processors(), *pipeline.filters) if one.plugin == "rewrite_tag")


def _new_tags(instance: Instance) -> list[str]:
    return list(dict.fromkeys(rule.tag.text for rule in instance.options.rule))


def _takes(instance: Instance, tag: str) -> bool:
    """Whether a record under a tag that is written like this may come to the filter."""
    pattern = _ELEMENT.sub("*", tag)
    if pattern == tag:
        return match_route(instance.options.match, instance.options.match_regex)(tag)
    return instance.options.match is not None and may_fit_both(pattern, instance.options.match)


def may_fit_both(one: str, two: str) -> bool:
    """Whether any text fits both globs, in which only `*` is special."""
    # For each place in the first glob the places in the second that a common beginning may have led to.
    reached = _with_stars({0}, two)
    for sign in one:
        following: set[int] = set()
        if sign == "*":
            following = set(range(min(reached, default=len(two) + 1), len(two) + 1))
        else:
            for place in reached:
                if place < len(two) and two[place] == "*":
                    following.add(place)
                elif place < len(two) and two[place] == sign:
                    following.add(place + 1)
        reached = _with_stars(following, two)
    return len(two) in reached


def _with_stars(places: set[int], glob: str) -> set[int]:
    """The places, and those behind stars at them, which may stand for nothing."""
    found = set(places)
    for place in sorted(places):
        while place < len(glob) and glob[place] == "*":
            place += 1
            found.add(place)
    return found


_Step = tuple[str, int]


def _circles(following: dict[int, list[_Step]]) -> list[Sequence[_Step]]:
    """The shortest circle through each filter that is in one, each circle once; a step is a tag and who takes it."""
    found: dict[frozenset[int], Sequence[_Step]] = {}
    for start in following:
        ways: list[list[_Step]] = [[step] for step in following[start] if step[1] != start]
        seen: set[int] = set()
        while ways:
            way = ways.pop(0)
            if way[-1][1] == start:
                found.setdefault(frozenset(number for _, number in way), way)
                break
            if way[-1][1] not in seen:
                seen.add(way[-1][1])
                ways += [[*way, step] for step in following[way[-1][1]] if step[1] != way[-1][1]]
    return list(found.values())
