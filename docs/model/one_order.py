#!/usr/bin/env python3
"""One order: an explicit-state model of positions, tags, snapshots and the two cache tiers.

    python3 one_order.py               the rules: every scenario must hold
    python3 one_order.py VARIANT       one change to the rules
    python3 one_order.py VARIANT SCENARIO   in one scenario (`one`: all of one node and one tier;
                                       `every`: also those that are for one view alone)
    python3 one_order.py --all         the rules and every variant, as a table
    python3 one_order.py --list        the names of the variants

Breadth first, so a counterexample is a shortest one. Visited states are kept as 64-bit hashes.
States count once if they differ only in what no later step can read (`settled`), or in which of
two equal requests is which (`key`).
README.md, next to this file, states the rules in words and says what is left out.
"""
import sys
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

# ---------------------------------------------------------------------------------------------
# Rules. Each variant changes one or two of them.

RULES = dict(
    # The steps in which a line of the log is applied to a collection: `tags` moves the cells,
    # `snap` publishes the snapshot, `pos` publishes how far the collection is applied.
    apply=(("tags",), ("snap", "pos")),
    tags_at="apply",          # apply | heard: when the line is read from the log
    covers="collection",      # collection | tenant_min: one progress for all collections
    fix="atomic",             # atomic | own | pos_then_snap | snap_then_pos | pos_then_snap_max
    get_at="covered",         # covered | head: the position of a run that only gets documents
    second="kept",            # kept | newest | newest_min: how a further collection is read
    lower="safe",             # safe | any | never: when a run may restart at a lower position
    higher=True,              # does a run restart if it is older than what B had at arrival
    hit_load="pos_first",     # pos_first | cells_first
    hit_state="min",          # min | max | tenant | heard | head | as_of: what a hit states
    hit_check=True,           # whether a hit looks at the cells
    take="rule",              # rule | unchanged | heard | head | tenant_min | always: followers
    take_floor=True,          # whether a follower looks at the floor
    take_state="now",         # now | as_of: what a follower states if nothing has changed
    fill_check=True,          # whether a fill is refused when a cell has moved after as_of
    fill_as_of="run",         # run | now: what position an entry is stamped with
    ack="applied",            # applied | tags | commit: when a write is answered 200
    min_at="each",            # each | first | no_hit | heard: where Weir-Min-Position is checked
    get_reads="life",         # life | document: does get read the collection's lifetime as well
    drop="keep",              # keep | reset: what a drop does to the collection's cells
    absent="covered",         # covered | head: what "unknown collection" states
    ahead="applied",          # applied | tenant | heard | none: what promotion compares as_of with
    promote="cells",          # cells | none: does promotion check the changes since as_of
    rebuild="trim",           # trim | zero | empty: the floor after a restart, or no replay at all
    hold=True,                # True | older | trim | False: after a restart, is everything committed before
                              # it applied first: always; if the index is older than what was published
                              # (`trim`: then only what the log has no longer); or never
    saved="older",            # older | lost | published: what the index on disk may have after a crash
    rebuilt="head",           # head | trim: the documents that an index is rebuilt from at the start
    start_applied="last",     # last | before: what `stored` has at the start of a collection that lags:
                              # its last applied line, or the position before its first new one
    start="head",             # head | index: how far the log is read before the first answer
    gap_floor=True,           # does a node that missed trimmed lines raise its floor
    confirm=True,             # is a request refused when the node has not heard within the bound
    # One view: an immutable table of all collections, published in one store per change.
    view=False,               # a run reads everything from one view, instead of `fix` and `second`
    applied="derived",        # derived | stored: as rule 1 says, or as the implementation keeps it
    v_second="same",          # same | newest | newer | own: the view that B is read from
    v_state="min",            # min | max of applied over what was read
    v_last=True,              # is the position compared with `last` of what was read
    v_last_of="all",          # all | first: of which collections
    v_demand=True,            # is the position compared with what is demanded
    v_recheck=True,           # is the second try checked, which may read other collections
    v_again="pinned",         # pinned | newest: the view of the second try
    arrived="arrival",        # arrival | join: when `arrived` is loaded
    shares_demands=True,      # do requests lead or follow that demand more than the lowest applied
    hit_last=False,           # (True, or in which phase not) must what a hit states be at least `last` of what the entry read
    hit_entry="before",       # before | after: is the entry looked up after the position is loaded
    hit_older=False,          # ... and states the loaded position, even if the entry is newer
    split=None,               # None | rule | last | applied: a position per collection
    page=False,               # may several lines be published at once
    owes="collection",        # collection | document: which writes I2 asks for
    hear="one",               # one | batch: may several lines be heard at once
)

ONE_VIEW = dict(view=True, applied="stored", shares_demands=False, hold="older", saved="lost",
                rebuilt="trim", start_applied="before")
IMPLEMENTED = dict(ONE_VIEW, hit_last=True, split="rule")

VARIANTS = {
    # Publication
    "tags-after-publish": dict(apply=(("snap", "pos"), ("tags",))),
    "latest-after-snapshot": dict(apply=(("snap",), ("tags",), ("pos",)), fix="own"),
    "position-before-publish": dict(apply=(("tags",), ("pos",), ("snap",))),
    "tags-and-snapshot-at-once": dict(apply=(("tags", "snap", "pos"),)),
    "tags-at-commit": dict(tags_at="heard"),
    "one-progress-for-all": dict(covers="tenant_min"),
    # A run
    "position-then-snapshot": dict(fix="pos_then_snap"),
    "snapshot-then-position": dict(fix="snap_then_pos"),
    "position-then-snapshot-max": dict(fix="pos_then_snap_max"),
    "get-at-head": dict(get_at="head"),
    "second-newest": dict(second="newest"),
    "min-without-restart": dict(second="newest_min"),
    "restart-lower-always": dict(lower="any"),
    "restart-never-higher": dict(higher=False),
    "restart-never-lower": dict(lower="never"),
    # A hit
    "cells-then-position": dict(hit_load="cells_first"),
    "hit-states-head": dict(hit_state="head"),
    "hit-states-heard": dict(hit_state="heard"),
    "hit-states-max-of-read": dict(hit_state="max"),
    "hit-states-tenant-applied": dict(hit_state="tenant"),
    "hit-states-as-of": dict(hit_state="as_of"),
    "hit-without-check": dict(hit_check=False),
    # A follower
    "follower-takes-all": dict(take="always"),
    "follower-by-tenant-min": dict(take="tenant_min"),
    "follower-by-head": dict(take="head"),
    "follower-by-heard": dict(take="heard"),
    "follower-only-unchanged": dict(take="unchanged"),
    "follower-states-as-of": dict(take_state="as_of"),
    "follower-ignores-floor": dict(take_floor=False),
    # A fill
    "fill-without-check": dict(fill_check=False),
    "fill-stamped-now": dict(fill_as_of="now"),
    # Writes and what clients demand
    "ack-at-commit": dict(ack="commit"),
    "ack-after-tags": dict(ack="tags"),
    "min-first-only": dict(min_at="first"),
    "min-not-on-hit": dict(min_at="no_hit"),
    "min-by-heard": dict(min_at="heard"),
    # Absent and dropped
    "get-reads-document-only": dict(get_reads="document"),
    "drop-resets-cells": dict(drop="reset"),
    "absent-states-head": dict(absent="head"),
    # Two tiers, two nodes, restarts
    "ahead-by-heard": dict(ahead="heard"),
    "ahead-by-tenant-applied": dict(ahead="tenant"),
    "ahead-not-checked": dict(ahead="none"),
    "promotion-without-check": dict(promote="none"),
    "restart-without-replay": dict(rebuild="empty"),
    "restart-ignores-trim": dict(rebuild="zero"),
    "restart-serves-at-once": dict(hold=False),
    "restart-of-flushed-index": dict(hold=False, saved="published"),
    "restart-before-head": dict(hold=False, saved="published", start="index"),
    "gap-not-seen": dict(gap_floor=False),
    "bound-not-checked": dict(confirm=False),
    # One view instead of kept snapshots (rules 3 and 4); these are expected to hold
    "one-view": ONE_VIEW,
    "one-view-late-arrived": dict(ONE_VIEW, arrived="join"),
    "one-view-derived": dict(ONE_VIEW, applied="derived"),
    "one-view-shares-demands": dict(ONE_VIEW, shares_demands=True),
    "one-view-pages": dict(ONE_VIEW, page=True, hear="batch"),
    "one-view-entry-after": dict(ONE_VIEW, hit_entry="after"),
    "one-view-split": dict(ONE_VIEW, split="rule"),
    "one-view-own": dict(ONE_VIEW, v_second="own"),
    "one-view-hit-last": dict(ONE_VIEW, hit_last=True),
    "one-view-owes-document": dict(ONE_VIEW, owes="document"),
    "one-view-split-owes-document": dict(ONE_VIEW, split="rule", owes="document"),
    "one-view-hit-last-split": IMPLEMENTED,
    "one-view-all": dict(IMPLEMENTED, page=True, hear="batch", hit_entry="after"),
    "one-view-held": dict(IMPLEMENTED, hold=True, saved="older", rebuilt="head"),
    "one-view-held-at-last": dict(IMPLEMENTED, hold=True, start_applied="last"),
    # and these to break
    "one-view-last-not-follower": dict(ONE_VIEW, hit_last="landed"),
    "one-view-last-not-promoted": dict(ONE_VIEW, hit_last="shared"),
    "one-view-newest": dict(ONE_VIEW, v_second="newest"),
    "one-view-newer": dict(ONE_VIEW, v_second="newer"),
    "one-view-max": dict(ONE_VIEW, v_state="max"),
    "one-view-no-last-check": dict(ONE_VIEW, v_last=False),
    "one-view-last-of-first": dict(ONE_VIEW, v_last_of="first"),
    "one-view-no-demand": dict(ONE_VIEW, v_demand=False),
    "one-view-again-unchecked": dict(ONE_VIEW, v_recheck=False),
    "one-view-again-newest": dict(ONE_VIEW, v_again="newest"),
    "one-view-follower-min": dict(ONE_VIEW, take="read_min"),
    "one-view-tags-after": dict(ONE_VIEW, apply=(("snap", "pos"), ("tags",))),
    "one-view-cells-first": dict(ONE_VIEW, hit_load="cells_first"),
    "one-view-entry-after-older": dict(ONE_VIEW, hit_entry="after", hit_older=True),
    "one-view-split-last": dict(ONE_VIEW, split="last"),
    "one-view-split-applied": dict(ONE_VIEW, split="applied"),
    # at a restart, a gap, a promotion
    "one-view-restart-serves-at-once": dict(IMPLEMENTED, hold=False),
    "one-view-restart-held-to-trim": dict(IMPLEMENTED, hold="trim"),
    "one-view-restart-before-head": dict(IMPLEMENTED, start="index"),
    "one-view-restart-at-last": dict(IMPLEMENTED, start_applied="last"),
    "one-view-restart-ignores-trim": dict(IMPLEMENTED, rebuild="zero"),
    "one-view-gap-not-seen": dict(IMPLEMENTED, gap_floor=False),
    "one-view-promotion-without-check": dict(IMPLEMENTED, promote="none"),
    "one-view-ahead-not-checked": dict(IMPLEMENTED, ahead="none"),
}

TIER_VARIANTS = list(VARIANTS)[list(VARIANTS).index("ahead-by-heard"):
                               list(VARIANTS).index("one-view")] + ["follower-ignores-floor"]

# ---------------------------------------------------------------------------------------------
# Scenarios: small enough to be explored completely.

A, B = 0, 1
NAMES = "AB"
# What a request reads: its collections in order, and the document of a get.
KINDS = {"A": ((A,), None), "B": ((B,), None), "AB": ((A, B), None), "A/x": ((A,), "x"),
         "AB/x": ((A, B), "x"),
         "A?B": ((A, B), None)}    # Reads B only if there is something in A; for `one-view` alone.
SETS = {(A,): 0, (B,): 1, (A, B): 2}


@dataclass(frozen=True)
class Scenario:
    name: str
    ops: tuple                # what writers may commit
    commits: int              # how often
    requests: tuple           # (kind, node, demands the head as Weir-Min-Position)
    exists: tuple = (True, True)
    nodes: int = 1
    shared: bool = False
    hears_at_once: bool = True  # a node reads a line of the log as it is committed
    keep: int = 1             # older snapshots kept per collection
    restarts: int = 0         # crashes of the last node
    partitions: int = 0       # partitions of the last node
    trims: bool = False
    ages: bool = False        # the bound of staleness may pass

    @property
    def rank(self):
        """False: has a second tier or a second node; then the small ones first."""
        return (not (self.shared or self.nodes > 1), self.commits, len(self.requests), self.name)


PA, PB = ("put", A, "x"), ("put", B, "x")
PY, DEL, DROP, MAKE = ("put", A, "y"), ("delete", A, "x"), ("drop", A, None), ("create", A, None)


def req(text):
    """`A@0 AB@1!`: kind, node, `!` for a demanded position."""
    parts = [r.rstrip("!").split("@") + [r.endswith("!")] for r in text.split()]
    return tuple((kind, int(node), demands) for kind, node, demands in parts)


SCENARIOS = [
    Scenario("one collection", (PA,), 2, req("A@0 A@0 A@0")),
    Scenario("three commits", (PA, PB), 3, req("A@0 A@0")),
    Scenario("hearing apart", (PA, PB), 2, req("A@0 A@0 A/x@0"), hears_at_once=False),
    Scenario("two collections", (PA, PB), 3, req("AB@0 A@0")),
    Scenario("two collections, kept", (PA, PB), 3, req("AB@0 AB@0"), keep=0),
    Scenario("two collections, follower", (PA, PB), 2, req("AB@0 AB@0 A@0")),
    Scenario("demands", (PA, PB), 2, req("AB@0! AB@0 A@0!")),
    Scenario("documents", (PA, PY, DEL), 2, req("A/x@0 A/x@0 A@0")),
    Scenario("drop", (PA, DROP, MAKE), 3, req("A/x@0 A/x@0 A@0")),
    Scenario("drop, search", (PA, DROP, MAKE), 3, req("A@0 A@0")),
    Scenario("absent", (PA, MAKE, PB), 2, req("A@0 A/x@0 A@0"), exists=(False, True)),
    Scenario("two nodes", (PA, PB), 2, req("A@0 A@1 A@1"), nodes=2, shared=True,
             hears_at_once=False),
    Scenario("two nodes, get", (PA,), 1, req("A@0 A@1 A/x@1"), nodes=2, shared=True,
             hears_at_once=False),
    Scenario("two nodes, both", (PA, PB), 2, req("AB@0 AB@1"), nodes=2, shared=True,
             hears_at_once=False),
    Scenario("restart", (PA,), 2, req("A@0 A@1 A@1"), nodes=2, shared=True, restarts=1, trims=True),
    Scenario("restart alone", (PA, PB), 2, req("A@0 A@0 A@0"), shared=True, restarts=1, trims=True),
    Scenario("gap", (PA,), 2, req("A@1 A@1 A@1"), nodes=2, partitions=1, trims=True,
             hears_at_once=False),
    Scenario("bound", (PA,), 2, req("A@0 A@1"), nodes=2, shared=True, ages=True,
             hears_at_once=False),
]

# For `one-view`; run by name, or all of them with `extra`, or with the others (`every`).
EXTRA = [
    Scenario("two, hearing apart", (PA, PB), 2, req("AB@0 AB@0"), hears_at_once=False),
    Scenario("three, hearing apart", (PA, PB), 3, req("AB@0 A@0"), hears_at_once=False),
    Scenario("demands of two", (PA, PB), 2, req("AB@0! AB@0!")),
    Scenario("four commits", (PA, PB), 4, req("AB@0")),
    Scenario("four commits, two", (PA, PB), 4, req("AB@0 AB@0")),
    Scenario("two nodes, documents", (PB, PY), 2, req("AB/x@0 AB/x@1"), nodes=2, shared=True,
             hears_at_once=False),
    Scenario("second try reads more", (PA, PB), 3, req("A?B@0!")),
    Scenario("documents of two", (PA, PB, PY), 2, req("AB/x@0 AB/x@0")),
    Scenario("documents of two, mixed", (PB, PY), 2, req("AB/x@0 AB@0 AB/x@0")),
    # A restart of one node with one tier, as Weir has it.
    Scenario("restart, one tier", (PA, PB), 3, req("A@0 A@0"), restarts=1, trims=True),
    Scenario("restart of two", (PA, PB), 3, req("AB@0 AB@0"), restarts=1, trims=True),
    Scenario("restart of two, mixed", (PA, PB), 2, req("AB@0 A@0 AB@0"), restarts=1, trims=True),
    Scenario("restart, demands", (PA, PB), 2, req("AB@0! A@0! AB@0"), restarts=1, trims=True),
    Scenario("restart, documents", (PB, PY, DEL), 2, req("AB/x@0 AB/x@0 A/x@0"), restarts=1,
             trims=True),
    Scenario("restart, drop", (PA, DROP, MAKE), 3, req("A/x@0 A@0"), restarts=1, trims=True),
    Scenario("restart twice", (PA, PB), 2, req("AB@0 A@0"), restarts=2, trims=True),
]

# ---------------------------------------------------------------------------------------------
# The truth: a function of the log.


def content(log, exists, c, doc, p):
    """What a search of (or a get from) collection `c` gives as of position `p`."""
    return _content(log[:p], exists, c, doc)


@lru_cache(None)
def _content(log, exists, c, doc):
    there, docs = exists[c], {}
    for at, (op, where, which) in enumerate(log, 1):
        if where != c:
            continue
        if op == "put":
            docs[which] = at
        elif op == "delete":
            docs.pop(which, None)
        else:
            there, docs = op == "create", {}
    if not there:
        return "unknown collection"
    return docs.get(doc, "absent") if doc else tuple(sorted(docs.items()))


@lru_cache(None)
def lines(log, c):
    """The positions of the changes to a collection."""
    return tuple(at for at, op in enumerate(log, 1) if op[1] == c)


@lru_cache(None)
def touched(log, kind, get_reads):
    """The changes that move a tag which this kind of request reads: (position, collection)."""
    colls, doc = KINDS[kind]
    return tuple((at, op[1]) for at, op in enumerate(log, 1) if op[1] in colls and (
        doc is None or op[2] == doc or (op[2] is None and get_reads == "life")))


# A node. `colls` has, for each collection, the last line applied in full and how many steps of
# the next one are done. `lost`: lines up to it are in no cell; entries below it are misses. `must`:
# what has to be applied before anything is answered. For the invariants alone: `stated`, the largest
# position stated so far, and `owed`, what was applied (so perhaps answered 200) before a crash.
KNOWN, COLLS, LOST, MUST, MEM, STATED, UP, OWED = range(8)
APP = 8     # With `applied="stored"` only: how far each collection is applied.
# A reader. `arr`: noted at arrival (see `arrive`). `p`: position of the run. `q`: position loaded.
PH, ARR, P, Q, DATA, LEAD, REDONE = range(7)
COV, LAST, N2, N3, N4, NB, MIN = range(7)
SPLIT = 8   # With `split` only: per collection, what was answered 200 and what a split stated.

IDLE, DONE = ("idle",), ("done",)
RUNNING = ("fix", "fix2", "read2", "again", "again2", "store", "land")
NEVER = -1    # `trimmed up to`, if trimming cannot matter any more.


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1:]


class Model:
    def __init__(self, scenario, rules):
        self.sc, self.r = scenario, rules
        self.step_of = {what: i for i, step in enumerate(rules["apply"], 1) for what in step}
        self.steps = len(rules["apply"])
        self.kinds = sorted({kind for kind, _, _ in scenario.requests})
        self.seen = Counter()   # how often each interesting thing was reached
        of = {}
        for i, request in enumerate(scenario.requests):
            of.setdefault(request, []).append(i)
        self.equal = [same for same in of.values() if len(same) > 1]
        self.nobody = put(self.start()[4][0], UP, "gone")
        self.needs = {}         # `needed` of the phases of all requests
        # What is applied of a collection that nobody reads shows only where all of them are compared:
        # with a demand, with what is trimmed, and in some variants of the first rules.
        read = {c for kind, _, _ in scenario.requests for c in KINDS[kind][0]}
        compared = not rules["view"] or "tenant" in (rules["ahead"], rules["hit_state"]) or (
            "tenant_min" in (rules["covers"], rules["take"])) or scenario.trims or scenario.restarts or any(
            demands for _, _, demands in scenario.requests)
        self.applied = (A, B) if compared else tuple(sorted(read))

    def start(self):
        stated = (0,) * (5 if self.r["split"] else 3)
        node = (0, ((0, 0), (0, 0)), 0, 0, (None,) * len(self.kinds), stated, "up", (0, 0))
        node += ((0, 0),) if self.r["applied"] == "stored" else ()
        # log, trimmed up to, older than the bound, disruptions left, nodes, readers, shared tier
        return ((), 0, 0, self.sc.restarts + self.sc.partitions, (node,) * self.sc.nodes,
                (IDLE,) * len(self.sc.requests), ())

    # What a node knows ------------------------------------------------------------------------

    def reached(self, log, node, c, what):
        """The last line of `c` whose `what` (tags, snap, pos) has happened on this node."""
        done, stage = node[COLLS][c]
        if self.r["page"]:    # `stage`: of how many lines the cells have moved.
            of_c = lines(log, c)
            return of_c[bisect_right(of_c, done) + stage - 1] if stage and what == "tags" else done
        if stage < self.step_of[what]:
            return done
        of_c = lines(log, c)
        return of_c[bisect_right(of_c, done)]

    def cov(self, log, node, c):
        """How far `c` is applied: to the position before its first line that is not."""
        if self.r["covers"] == "tenant_min":
            return min(self.cov_of(log, node, A), self.cov_of(log, node, B))
        if self.r["applied"] == "stored":
            return node[APP][c]
        return self.cov_of(log, node, c)

    def cov_of(self, log, node, c, what="pos"):
        of_c, pos = lines(log, c), self.reached(log, node, c, what)
        i = bisect_right(of_c, pos)
        return of_c[i] - 1 if i < len(of_c) and of_c[i] <= node[KNOWN] else node[KNOWN]

    def changed(self, log, node, kind, as_of, resolved=None):
        """Has a cell of what was read moved after `as_of`? `resolved`: the last drop applied
        when the cells were looked up, which matters only where a drop removes them."""
        resolved = self.last_drop(log, node) if resolved is None else resolved
        for at, c in touched(log, kind, self.r["get_reads"]):
            if at <= as_of or at <= node[LOST]:
                continue
            if self.r["drop"] == "reset" and (at <= resolved or any(
                    resolved < d < at for d in lines(log, c) if log[d - 1][0] == "drop")):
                continue    # Forgotten with the old cell, or the entry's cell moves no more.
            known = node[KNOWN] if self.r["tags_at"] == "heard" else (
                self.reached(log, node, c, "tags"))
            if at <= known:
                return True
        return False

    def last_drop(self, log, node):
        if self.r["drop"] == "keep":
            return 0
        reached = self.reached(log, node, A, "tags")
        return max((at for at in lines(log, A) if at <= reached and log[at - 1][0] == "drop"), default=0)

    def below_floor(self, node, as_of, here):
        rule = self.r["gap_floor"] if here else self.r["rebuild"] == "trim"
        return rule and as_of < node[LOST]

    def acked(self, log, node, c):
        """The last position of `c` that may have been answered 200 here."""
        if self.r["ack"] == "commit":
            return (lines(log, c) or (0,))[-1]
        return node[COLLS][c][0] if self.r["ack"] == "applied" else self.reached(log, node, c, "tags")

    # Steps --------------------------------------------------------------------------------------

    def successors(self, s):
        """Yields (label, state, violated invariants)."""
        stored = self.r["applied"] == "stored"
        for label, new, bad in self.raw_successors(s):
            if stored and new[4] is not s[4]:
                nodes = tuple([y if x is y else self.with_applied(new[0], x, y)
                               for x, y in zip(s[4], new[4])])
                new = new[:4] + (nodes,) + new[5:]
            yield label, self.settled(new), bad

    def settled(self, s):
        """Forgets what no step reads any more that an answer could depend on. States that differ in
        nothing else are one; their answers, and the steps to each, are the same."""
        log, trim, aged, left, nodes, readers, shared = s
        phases = tuple(x[PH] for x in readers)
        needs = self.needs.get(phases)
        if needs is None:
            needs = self.needs[phases] = self.needed(phases)
        tiers, of_nodes = needs
        if of_nodes is None:
            return (), 0, 0, 0, (), readers, ()
        if shared:
            shared = tuple(e for e in shared if e[0] in tiers)
        if not of_nodes[-1][0]:    # Only the last node is disrupted, or misses what is trimmed.
            left, trim = 0, NEVER
        elif self.sc.trims and not left and all(
                n[UP] == "gone" or n[UP] == "up" and trim <= n[KNOWN] for n in nodes):
            trim = NEVER
        trims = self.sc.trims and trim != NEVER
        new, none = (), self.nobody
        for n, (asked, idle, no_mem, no_stated) in zip(nodes, of_nodes):
            if not asked:
                n = n[:LOST] + none[LOST:UP] + (n[UP],) + none[OWED:] if trims else none
            else:
                mem, stated = n[MEM], n[STATED]
                for k in no_mem:
                    if mem[k] is not None:
                        n = put(n, MEM, put(n[MEM], k, None))
                for m in no_stated:
                    if stated[m]:
                        n = put(n, STATED, put(n[STATED], m, 0))
                if not idle and (n[MUST] or n[OWED] != (0, 0)):
                    n = put(put(n, MUST, 0), OWED, (0, 0))
            new += (n,)
        return log, trim, aged, left, new, readers, shared

    def needed(self, phases):
        """What requests in these phases may still read of the shared tier (kinds); and of each node
        whether it is asked at all, and by requests to come, and which kinds of entries and which
        stated positions will not be read."""
        asked = [(kind, n, ph) for (kind, n, _), ph in zip(self.sc.requests, phases) if ph != "done"]
        if not asked:
            return None, None
        tiers = {self.kinds.index(kind) for kind, _, ph in asked
                 if ph in ("idle", "look", "look2", "follow", "shared")}
        nodes = ()
        for i in range(self.sc.nodes):
            here = [(kind, ph) for kind, n, ph in asked if n == i]
            mem = {kind for kind, ph in here if ph in ("idle", "look", "look2")}
            colls = [KINDS[kind][0] for kind, ph in here if ph == "idle"]
            stated = {SETS[of] for of in colls} | {3 + c for of in colls if len(of) == 2 for c in of}
            nodes += ((bool(here), bool(colls),
                       [k for k, kind in enumerate(self.kinds) if kind not in mem],
                       [m for m in range(len(self.nobody[STATED])) if m not in stated]),)
        return tiers, nodes

    def key(self, s):
        """Equal requests are interchangeable."""
        if self.equal:
            readers = list(s[5])
            for same in self.equal:
                for i, reader in zip(same, sorted((readers[i] for i in same), key=hash)):
                    readers[i] = reader
            s = s[:5] + (tuple(readers), s[6])
        return hash(s)

    def with_applied(self, log, old, new):
        """`applied` as the implementation keeps it: when its first new line is heard it stays, and
        between two lines (or pages) it is the last applied line."""
        if new[UP] == "down":
            return new[:APP]
        before = self.r["start_applied"] == "before"
        if new[KNOWN] == old[KNOWN] and new[COLLS] == old[COLLS] and old[UP] != "down":
            return new
        app = ()
        for c in (A, B):
            of_c, pos = lines(log, c), self.reached(log, new, c, "pos")
            i = bisect_right(of_c, pos)
            if i == len(of_c) or of_c[i] > new[KNOWN]:
                app += (new[KNOWN],)
            elif old[UP] != "down" and self.reached(log, old, c, "pos") == pos:
                app += (old[APP][c],)
            else:
                app += (of_c[i] - 1 if old[UP] == "down" and before else pos,)
            if old[UP] != "down":
                assert old[APP][c] <= app[c], (log, old, new)
        return new[:APP] + (app,)

    def raw_successors(self, s):
        log, trim, aged, left, nodes, readers, shared = s
        if not nodes:
            return    # Everything is answered.
        if len(log) < self.sc.commits:
            for op in self.sc.ops:
                if self.possible(log, op):
                    new = nodes
                    if self.sc.hears_at_once:
                        new = tuple(put(n, KNOWN, len(log) + 1) if n[UP] == "up" else n for n in nodes)
                    yield (("commit", len(log) + 1, op),
                           (log + (op,), trim, aged, left, new, readers, shared), ())
        for i, node in enumerate(nodes):
            yield from self.node_steps(s, i, node)
        if self.sc.trims and NEVER < trim < len(log):
            c = log[trim][1]
            if all(n[UP] != "up" or n[COLLS][c][0] > trim for n in nodes):
                yield ("trim", trim + 1), (log, trim + 1, aged, left, nodes, readers, shared), ()
        if self.sc.ages and aged < len(log):
            yield ("bound", len(log)), (log, trim, len(log), left, nodes, readers, shared), ()
        for i, reader in enumerate(readers):
            if reader is DONE or reader[PH] in ("done", "follow"):
                continue
            if nodes[self.sc.requests[i][1]][UP] != "down":
                yield from self.reader_steps(s, i, reader)

    def possible(self, log, op):
        state = content(log, self.sc.exists, op[1], None, len(log))
        there = state != "unknown collection"
        if op[0] == "create":
            return not there
        return there and (op[0] != "delete" or any(doc == op[2] for doc, _ in state))

    def node_steps(self, s, i, node):
        log, trim, aged, left, nodes, readers, shared = s

        def after(label, new, rs=readers, cost=0):
            return (label, (log, trim, aged, left - cost, put(nodes, i, new), rs, shared), ())

        last = i == len(nodes) - 1
        if node[UP] == "gone":
            return
        if node[UP] == "down":
            late = any(node[COLLS][c][0] < at <= trim for c in (A, B) for at in lines(log, c))
            colls = node[COLLS]
            if late:
                upto = len(log) if self.r["rebuilt"] == "head" else trim
                colls = tuple((max((at for at in lines(log, c) if at <= upto), default=0), 0)
                              for c in (A, B))
            lost = len(log) if self.r["rebuild"] == "empty" else trim
            hold = self.r["hold"]
            if hold in ("older", "trim"):
                hold = hold if node[MUST] or late else False
            must = len(log) if hold in ("older", True) else trim if hold else 0
            known = len(log) if self.r["start"] == "head" or late else max(done for done, _ in colls)
            yield after(("start", i, late),
                        (known, colls, lost, must, node[MEM], node[STATED], "up", node[OWED]))
            return
        if node[UP] == "up" and node[KNOWN] < len(log):
            if trim > node[KNOWN]:    # Lines are gone: rebuild from the documents.
                colls = tuple(((lines(log, c) or (0,))[-1], 0) for c in (A, B))
                yield after(("gap", i), (len(log), colls, trim) + node[MUST:])
                return
            upto = len(log) if self.r["hear"] == "batch" else node[KNOWN] + 1
            for at in range(node[KNOWN] + 1, upto + 1):
                yield after(("hear", i, at), put(node, KNOWN, at))
        for c in self.applied:
            done, stage = node[COLLS][c]
            of_c = lines(log, c)
            n = bisect_right(of_c, done)
            if self.r["page"]:
                new = []
                if n + stage < len(of_c) and of_c[n + stage] <= node[KNOWN]:
                    new.append((of_c[n + stage], ("tags",), (done, stage + 1)))
                if stage:
                    new.append((of_c[n + stage - 1], ("snap", "pos"), (of_c[n + stage - 1], 0)))
                for at, what, coll in new:
                    yield after(("apply", i, c, at, what), put(node, COLLS, put(node[COLLS], c, coll)))
            elif n < len(of_c) and of_c[n] <= node[KNOWN]:
                new = (of_c[n], 0) if stage + 1 == self.steps else (done, stage + 1)
                yield after(("apply", i, c, of_c[n], self.r["apply"][stage]),
                            put(node, COLLS, put(node[COLLS], c, new)))
        if left and last and self.sc.restarts:
            rs = tuple(DONE if r[PH] != "idle" and self.sc.requests[j][1] == i else r
                       for j, r in enumerate(readers))
            empty = (None,) * len(self.kinds)
            # What the index has on disk may be older than what was published.
            saved = {tuple((done, 0) for done, _ in node[COLLS])}
            if self.r["saved"] == "lost" or self.r["saved"] == "older" and not trim:
                saved.add(((0, 0), (0, 0)))
            for colls in sorted(saved):
                owed = tuple(max(self.acked(log, node, c), node[OWED][c]) for c in (A, B))
                new = put(put(put(put(node, COLLS, colls), MEM, empty), UP, "down"), OWED, owed)
                if self.r["hold"] in ("older", "trim"):
                    # Until the start: is the index older than what was published, or demanded.
                    older = any(was > at for (was, _), (at, _) in zip(node[COLLS], colls))
                    older |= node[MUST] > min(self.cov(log, node, c) for c in (A, B))
                    new = put(new, MUST, int(older))
                yield after(("crash", i, colls), new, rs, cost=1)
        if left and last and self.sc.partitions and node[UP] == "up":
            yield after(("cut off", i), put(node, UP, "cut"), cost=1)
        if node[UP] == "cut":
            yield after(("back", i), put(node, UP, "up"))

    def reader_steps(self, s, i, reader):
        log, trim, aged, left, nodes, readers, shared = s
        kind, n, demands = self.sc.requests[i]
        node, (colls, doc), k = nodes[n], KINDS[kind], self.kinds.index(kind)
        r, ph = self.r, reader[PH]

        def to(label, *fields, node=node, readers=readers, shared=shared):
            if fields[PH] in RUNNING:    # What only hits and followers need.
                arr = fields[ARR]
                fields = (fields[PH], ((),) + arr[LAST:N4] + (0,) + arr[NB:]) + fields[P:REDONE] + (
                    0 if r["view"] else fields[REDONE],)
            return ((label, i) if isinstance(label, str) else (label[0], i) + label[1:],
                    (log, trim, aged, left, put(nodes, n, node), put(readers, i, fields), shared), ())

        def answer(via, stated, got, node=node, readers=readers, shared=shared, as_of=None):
            arr = reader[ARR]
            bad = self.check(log, kind, via, stated, got, arr)
            self.seen[via] += 1
            if any(node[COLLS][c][0] < x for c in colls for x in lines(log, c)):
                self.seen[via + ", lagging"] += 1
            m = SETS[colls]
            new = put(node, STATED, put(node[STATED], m, max(stated, node[STATED][m])))
            if reader[LEAD]:
                landed = (reader[P] if as_of is None else as_of, got)
                readers = tuple(
                    ("landed", x[ARR], 0, 0, landed, 0, 0)
                    if x[PH] == "follow" and self.sc.requests[j][:2] == (kind, n) else x
                    for j, x in enumerate(readers))
            return (("answer", i, via, stated, got, as_of),
                    (log, trim, aged, left, put(nodes, n, new), put(readers, i, DONE), shared), bad)

        def loaded():
            """What a hit or a follower states if nothing has changed."""
            covs = [self.cov(log, node, c) for c in colls]
            if r["hit_last"] not in (False, ph) and any(min(covs) < self.reached(log, node, c, "snap") for c in colls):
                self.seen["hit below last"] += 1
                return -1    # Nothing can be taken.
            return {"min": min(covs), "max": max(covs), "heard": node[KNOWN], "head": len(log),
                    "tenant": max(self.cov(log, node, c) for c in (A, B)),
                    "as_of": 0}[r["hit_state"]]

        def run(lead):
            return ("shared" if lead and self.sc.shared else "fix", reader[ARR], 0, 0, (), lead, 0)

        def join():
            if r["view"]:
                if not r["shares_demands"] and arr[MIN] > min(self.cov(log, node, c) for c in (A, B)):
                    self.seen["demand: alone"] += 1
                    return run(0)
                covs = arr[COV]
                if r["arrived"] == "join":
                    covs = tuple(self.cov(log, node, c) for c in colls)
                leads = any(x[PH] not in ("idle", "done") and x[LEAD] and
                            self.sc.requests[j][:2] == (kind, n) for j, x in enumerate(readers))
                if leads:
                    return ("follow", put(arr, COV, covs)) + reader[2:4] + ((), 0, 0)
                return run(1)[:1] + (put(arr, COV, ()),) + run(1)[2:]
            leads = any(x[PH] not in ("idle", "done") and x[LEAD] and
                        self.sc.requests[j][:2] == (kind, n) for j, x in enumerate(readers))
            return ("follow",) + reader[1:] if leads else run(1)

        if ph == "idle":
            if any(self.sc.requests[j] == self.sc.requests[i] and readers[j] is IDLE for j in range(i)):
                return    # Equal requests begin in their order.
            if r["confirm"] and node[KNOWN] < aged:
                yield to("refused: not heard within the bound", *DONE)
                return
            yield to("arrive", "look", self.arrive(log, aged, node, kind, demands), 0, 0, (), 0, 0)
            return

        arr = reader[ARR]
        least = arr[MIN]
        if ph == "look":
            entry = node[MEM][k]
            if r["hit_entry"] == "after":
                yield to(("load position", loaded()), "look2", arr, 0, loaded(), (), 0, 0)
            elif entry is None:
                nxt = join()
                yield to("miss, follow" if nxt[0] == "follow" else "miss, lead", *nxt)
            elif r["hit_load"] == "pos_first":
                yield to(("load position", loaded()), "look2", arr, 0, loaded(), entry, 0, 0)
            else:
                fresh = self.usable(log, node, kind, entry)
                yield to(("check cells", fresh), "look2", arr, 0, int(fresh), entry, 0, 0)
        elif ph == "look2":
            if r["hit_entry"] == "after" and node[MEM][k] is None:
                nxt = join()
                yield to("miss, follow" if nxt[0] == "follow" else "miss, lead", *nxt)
                return
            as_of, got, _ = entry = node[MEM][k] if r["hit_entry"] == "after" else reader[DATA]
            if r["hit_load"] == "pos_first":
                fresh, stated = self.usable(log, node, kind, entry), max(as_of, reader[Q])
                if as_of > reader[Q] >= 0:
                    self.seen["entry newer than the loaded position"] += 1
                    stated = reader[Q] if r["hit_older"] else stated
                fresh = fresh and reader[Q] >= 0
            else:
                fresh, stated = bool(reader[Q]), max(as_of, loaded())
            if fresh and (stated >= least or r["min_at"] == "no_hit"):
                yield answer("hit", stated, got, as_of=as_of)
            else:
                nxt = join()
                yield to("stale, follow" if nxt[0] == "follow" else "stale, lead", *nxt)
        elif ph == "shared":
            yield to("shared tier: nothing", "fix", *reader[1:])
            for kk, as_of, got in shared:   # Any value that was ever stored: Redis has no order.
                if kk == k:
                    yield to(("shared tier: entry as of", as_of), "shared2", arr, 0, loaded(),
                             (as_of, got), 1, 0)
        elif ph == "shared2":
            as_of, got = reader[DATA]
            limit = {"applied": min(self.cov(log, node, c) for c in colls),
                     "tenant": max(self.cov(log, node, c) for c in (A, B)),
                     "heard": node[KNOWN], "none": as_of}[r["ahead"]]
            limit = min(limit, reader[Q]) if r["ahead"] == "applied" else limit
            stated = max(as_of, reader[Q])
            why = ("ahead" if as_of > limit else
                   "below the floor" if self.below_floor(node, as_of, False) else
                   "changed" if r["promote"] == "cells" and self.changed(log, node, kind, as_of) else
                   "older than demanded" if stated < least else None)
            if why:
                self.seen["not promoted: " + why] += 1
                yield to("not promoted: " + why, "fix", arr, 0, 0, (), 1, 0)
            else:
                entry = (as_of, got, self.last_drop(log, node))
                new = put(node, MEM, put(node[MEM], k, entry))
                yield answer("promoted", stated, got, node=new, as_of=as_of)
        elif r["view"] and ph in ("fix", "read2", "again", "again2"):
            yield from self.view_run(s, i, reader, node, colls, doc, to)
        elif ph == "fix":
            c = colls[0]
            p = self.cov(log, node, c) if r["fix"] != "own" else self.cov_of(log, node, c, "snap")
            least = max(least, *arr[LAST]) if reader[REDONE] and r["higher"] else least
            if (node[KNOWN] if r["min_at"] == "heard" else p) < least:
                return    # Waits; refused in the end.
            snap = self.reached(log, node, c, "snap") if r["covers"] == "collection" else p
            got = content(log, self.sc.exists, c, doc, snap)
            if doc and r["get_at"] == "head":
                p, got = len(log), content(log, self.sc.exists, c, doc, len(log))
            if got == "unknown collection" and r["absent"] == "head":
                p = len(log)
            nxt = "store" if len(colls) == 1 else "read2"
            if r["fix"] in ("atomic", "own"):
                yield to(("run fixes its position", p, got), nxt, arr, p, 0, (got,), reader[LEAD],
                         reader[REDONE])
            elif r["fix"] == "snap_then_pos":
                yield to(("run takes the snapshot", got), "fix2", arr, 0, snap, (got,), reader[LEAD], 0)
            else:
                yield to(("run loads the position", p), "fix2", arr, p, 0, (), reader[LEAD], 0)
        elif ph == "fix2":
            c, p, data = colls[0], reader[P], reader[DATA]
            snap = self.reached(log, node, c, "snap")
            if r["fix"] == "snap_then_pos":
                p = self.cov(log, node, c)
            else:
                data = (content(log, self.sc.exists, c, doc, snap),)
                p = max(p, snap) if r["fix"] == "pos_then_snap_max" else p
            yield to(("run has position and snapshot", p, data[0]), "store" if len(colls) == 1 else "read2",
                     arr, p, 0, data, reader[LEAD], 0)
        elif ph == "read2":
            yield from self.read_second(log, node, reader, colls, doc, to)
        elif ph == "store":
            if not reader[LEAD]:
                yield answer("alone", reader[P], reader[DATA])
                return
            as_of = reader[P] if r["fill_as_of"] == "run" else min(self.cov(log, node, c) for c in colls)
            if r["fill_check"] and self.changed(log, node, kind, as_of):
                yield to(("not stored: changed after", as_of), "land", *reader[1:])
                return
            entry = (as_of, reader[DATA], self.last_drop(log, node))
            new = put(node, MEM, put(node[MEM], k, entry))
            kept = shared
            if self.sc.shared:
                kept = tuple(sorted(set(shared) | {(k, as_of, reader[DATA])}))
            yield to(("stored as of", as_of), "land", *reader[1:], node=new, shared=kept)
        elif ph == "land":
            yield answer("cold", reader[P], reader[DATA])
        elif ph == "landed":
            yield to(("follower loads position", loaded()), "landed2", arr, 0, loaded(), reader[DATA], 0, 0)
        elif ph == "landed2":
            as_of, got = reader[DATA]
            stated = self.take(log, node, kind, as_of, reader[Q], arr)
            if stated is None or stated < least:
                self.seen["follower runs alone"] += 1
                yield to("leader's answer not taken, run alone", *run(0))
            else:
                yield answer("follower", stated, got, as_of=as_of)

    def arrive(self, log, aged, node, kind, demands):
        """What is noted at arrival: positions that rules use, and obligations that only the
        invariants use (N2 to NB)."""
        colls, _ = KINDS[kind]
        touches = touched(log, kind, "life")
        cov = tuple(self.cov(log, node, c) for c in colls)
        if self.r["take"] == "tenant_min":
            cov = (min(self.cov(log, node, c) for c in (A, B)),) * len(colls)
        elif self.r["take"] in ("heard", "head"):
            cov = (node[KNOWN] if self.r["take"] == "heard" else len(log),) * len(colls)
        if self.r["take"] == "read_min":
            cov = (min(cov),) * len(colls)
        if self.r["view"] and self.r["arrived"] == "join":
            cov = ()
        last = () if self.r["view"] else tuple(node[COLLS][c][0] for c in colls)
        n2 = max(max(self.acked(log, node, c), node[OWED][c]) for c in colls)
        if kind == "A?B":
            n2 = max(self.acked(log, node, A), node[OWED][A])
        if self.r["owes"] == "document":
            n2 = max((at for at, c in touches if at <= max(node[COLLS][c][0], node[OWED][c])), default=0)
        n4 = max((at for at, c in touches if at <= node[COLLS][c][0]), default=0)
        nb = max((at for at, c in touches if node[KNOWN] < at <= aged), default=0)
        least = max(len(log) if demands else 0, node[MUST])
        arr = (cov, last, n2, node[STATED][SETS[colls]], n4, nb, least, len(log) if demands else 0)
        if self.r["split"] and len(colls) == 2:
            arr += (tuple((max(self.acked(log, node, c), node[OWED][c]), node[STATED][3 + c])
                          for c in colls),)
        return arr

    def view_run(self, s, i, reader, node, colls, doc, to):
        """A run on one view: an immutable table of all collections."""
        log, trim, aged, left, nodes, readers, shared = s
        r, ph, arr, lead = self.r, reader[PH], reader[ARR], reader[LEAD]
        if self.sc.requests[i][0] == "A?B":
            read = 1 if not content(log, self.sc.exists, A, doc, self.reached(log, node, A, "snap")) else 2
        if ph == "again" and reader[DATA]:    # The wait is given up.
            yield from self.split(s, i, reader, reader[DATA], node, colls, doc)
        if self.sc.requests[i][0] == "A?B":
            if ph == "again":
                # Waits for a view that is valid for what the first try read; may read more in it.
                first = colls[:reader[Q]]
                p = min(self.cov(log, node, c) for c in first)
                if p < max(arr[MIN], *(self.reached(log, node, c, "snap") for c in first)):
                    return
            colls = colls[:read]
        apps = tuple(self.cov(log, node, c) for c in colls)
        lasts = tuple(self.reached(log, node, c, "snap") for c in colls)
        got = tuple(content(log, self.sc.exists, c, doc, at) for c, at in zip(colls, lasts))

        def valid(p, lasts):
            of = lasts[:1] if r["v_last_of"] == "first" else lasts
            return (not r["v_last"] or all(p >= at for at in of)) and (
                not r["v_demand"] or p >= arr[MIN])

        p = min(apps) if r["v_state"] == "min" else max(apps)
        keep = (got, apps, lasts) if r["split"] and len(colls) == 2 else ()
        if ph == "fix":
            if r["v_second"] == "own" and len(colls) == 2:
                yield to(("run reads A from a view: applied, last", apps[0], lasts[0]), "read2", arr,
                         apps[0], lasts[0], got[:1], lead, 0)
            elif not valid(p, lasts):
                self.seen["done again"] += 1
                yield to(("run is not valid at", p, "last", lasts), "again", arr, 0, len(colls), keep,
                         lead, 1)
            elif r["v_second"] != "same" and len(colls) == 2:
                yield to(("run reads A from a view, position", p, got[0]), "read2", arr, p, 0, got[:1],
                         lead, 0)
            else:
                yield to(("run on a view, position", p, got), "store", arr, p, 0, got, lead, 0)
        elif ph == "read2":
            got = reader[DATA] + got[1:]
            if r["v_second"] == "newest":      # Position and check are of the first view.
                yield to(("run reads B from a newer view, states", reader[P], got), "store", arr,
                         reader[P], 0, got, lead, 0)
            elif r["v_second"] == "newer":     # Position and check are of the second view.
                if valid(p, lasts):
                    yield to(("run reads B from a newer view, states its", p, got), "store", arr, p, 0,
                             got, lead, 0)
                else:
                    yield to(("run is not valid at", p, "last", lasts), "again", arr, 0, 0, keep, lead, 1)
            else:                              # Of each collection's own view.
                p = min(reader[P], apps[1])
                if valid(p, (reader[Q], lasts[1])):
                    yield to(("run reads B from a newer view, states min", p, got), "store", arr, p, 0,
                             got, lead, 0)
                else:
                    yield to(("run is not valid at", p), "again", arr, 0, 0, keep, lead, 1)
        elif ph == "again":
            checked = self.sc.requests[i][0] != "A?B" or r["v_recheck"]
            if not checked and not valid(p, lasts):
                yield to(("second try, on a view, position", p, got), "store", arr, p, 0, got, lead, 1)
            elif valid(p, lasts):
                if r["v_again"] == "pinned":
                    self.seen["second try"] += 1
                    yield to(("second try, on a view that is valid at", p, got), "store", arr, p, 0, got,
                             lead, 1)
                else:
                    yield to(("a view is valid at", p), "again2", arr, 0, 0, (), lead, 1)
            elif keep and self.sc.requests[i][0] == "A?B":    # The second try has read more.
                yield from self.split(s, i, reader, keep, node, colls, doc)
        else:
            yield to(("second try, on the newest view, position", p, got), "store", arr, p, 0, got, lead, 1)

    def split(self, s, i, reader, tried, node, colls, doc):
        """What a try has read is answered, marked, with a position per collection."""
        log, trim, aged, left, nodes, readers, shared = s
        kind, n, _ = self.sc.requests[i]
        arr, (got, apps, lasts) = reader[ARR], tried
        at = {"rule": tuple(max(x, min(apps)) for x in lasts), "last": lasts,
              "applied": apps}[self.r["split"]]
        if min(at) < arr[MIN]:
            self.seen["split refused: demand"] += 1
            return
        bad = set()
        for c, p, g, (acked, split_before) in zip(colls, at, got, arr[SPLIT]):
            if p > len(log) or content(log, self.sc.exists, c, doc, p) != g:
                bad.add("I1")
            if p < acked:
                bad.add("I2")
            if p < split_before or p < arr[N3]:
                bad.add("I3")
            if p < arr[MIN + 1]:
                bad.add("I5")
        self.seen["split"] += 1
        stated = node[STATED][:3] + tuple(max(x, p) for x, p in zip(node[STATED][3:], at))
        if reader[LEAD]:
            readers = tuple(("shared" if self.sc.shared else "fix", x[ARR], 0, 0, (), 0, 0)
                            if x[PH] == "follow" and self.sc.requests[j][:2] == (kind, n) else x
                            for j, x in enumerate(readers))
        new = put(nodes, n, put(node, STATED, stated))
        yield (("split", i, at, got), (log, trim, aged, left, new, put(readers, i, DONE), shared),
               tuple(sorted(bad)))

    def usable(self, log, node, kind, entry):
        as_of, _, resolved = entry
        return not self.r["hit_check"] or not (
            self.below_floor(node, as_of, True) or self.changed(log, node, kind, as_of, resolved))

    def read_second(self, log, node, reader, colls, doc, to):
        """The further collection of a run, at the run's position."""
        first, c = colls
        p, data, arr, r = reader[P], reader[DATA], reader[ARR], self.r
        cov, snap = self.cov(log, node, c), self.reached(log, node, c, "snap")
        newest = content(log, self.sc.exists, c, doc, snap)

        def kept(c, at):
            newer = [x for x in lines(log, c) if at < x <= self.reached(log, node, c, "snap")]
            return len(newer) <= self.sc.keep

        if r["second"] != "kept":
            if r["second"] == "newest_min":
                p = min(p, cov)
            yield to(("reads the newest of B, states", p), "store", arr, p, 0, data + (newest,),
                     *reader[LEAD:])
        elif p < arr[LAST][1] and r["higher"]:
            if not reader[REDONE]:
                self.seen["restart: higher"] += 1
                yield to(("B had a later change at arrival, restart at or after", arr[LAST][1]),
                         "fix", arr, 0, 0, (), reader[LEAD], 1)
        elif cov >= p:
            if kept(c, p):
                got = content(log, self.sc.exists, c, doc, p)
                yield to(("reads B at the run's position", p, got), "store", arr, p, 0, data + (got,),
                         *reader[LEAD:])
            elif not reader[REDONE]:
                self.seen["restart: snapshot gone"] += 1
                yield to("snapshot of B is gone, restart", "fix", arr, 0, 0, (), reader[LEAD], 1)
            else:
                self.seen["refused: snapshot gone"] += 1
        elif r["lower"] != "never" and not reader[REDONE] and kept(first, cov):
            demanded = arr[MIN] if r["min_at"] != "first" else 0
            if (r["lower"] == "any" or cov >= max(arr[LAST])) and cov >= demanded:
                self.seen["restart: lower"] += 1
                got = content(log, self.sc.exists, first, doc, cov)
                yield to(("B is behind, restart at", cov, got), "read2", arr, cov, 0, (got,),
                         reader[LEAD], 1)

    def take(self, log, node, kind, as_of, loaded, arr):
        """What a follower states if it takes the leader's answer."""
        rule = self.r["take"]
        if rule == "always":
            return as_of
        floor = self.r["take_floor"] and as_of < node[LOST]
        if not floor and loaded >= 0 and not self.changed(log, node, kind, as_of):
            return max(as_of, loaded) if self.r["take_state"] == "now" else as_of
        if rule != "unchanged" and all(as_of >= at for at in arr[COV]):
            return as_of
        return None

    # Invariants ---------------------------------------------------------------------------------

    def check(self, log, kind, via, stated, got, arr):
        colls, doc = KINDS[kind]

        def is_state_at(p):
            if kind == "A?B" and not content(log, self.sc.exists, A, doc, p):
                return got == ((),)
            return got == tuple(content(log, self.sc.exists, c, doc, p) for c in colls)

        bad = []
        if stated > len(log) or not is_state_at(stated):
            bad.append("I1")
        if stated < arr[N2]:
            bad.append("I2")
        if stated < arr[N3] or len(arr) > SPLIT and any(stated < before for _, before in arr[SPLIT]):
            bad.append("I3")
        cached = via in ("hit", "promoted", "follower")
        since = max(arr[N4] if cached else 0, arr[NB])
        if not any(is_state_at(p) for p in range(since, len(log) + 1)):
            bad.append("I4")
        if stated < arr[MIN + 1]:
            bad.append("I5")
        return tuple(bad)

    # Exploration --------------------------------------------------------------------------------

    def explore(self, limit, max_steps):
        first = self.start()
        parent = {self.key(first): None}
        level, deadline, steps = [(self.key(first), first)], time.time() + limit, 0
        while level and steps < max_steps:
            steps += 1
            following = []
            for mine, s in level:
                for label, new, bad in self.successors(s):
                    h = self.key(new)
                    if bad:
                        return len(parent), bad, self.trace(parent, mine) + [label]
                    if h not in parent:
                        parent[h] = mine
                        following.append((h, new))
            if time.time() > deadline:
                return len(parent), None, "out of time"
            level = following
        return len(parent), None, None

    def trace(self, parent, h):
        path = [h]
        while parent[path[-1]] is not None:
            path.append(parent[path[-1]])
        path.reverse()
        labels, s = [], self.start()
        for nxt in path[1:]:
            label, s = next((lb, new) for lb, new, _ in self.successors(s) if self.key(new) == nxt)
            labels.append(label)
        return labels

    def words(self, label):
        """A step of a counterexample, for people."""
        what, *rest = label
        on = (lambda i: f" on node {i}") if self.sc.nodes > 1 else (lambda i: "")
        if what == "commit":
            op, c, doc = rest[1]
            return f"commit {rest[0]}: {op} {NAMES[c]}" + (f"/{doc}" if doc else "")
        if what == "apply":
            done = {"tags": "tags moved", "snap": "snapshot published", "pos": "position published"}
            if rest[3] == ("snap", "pos"):
                done = {"snap": "snapshot and position published"}
            what = ", ".join(done[x] for x in rest[3] if x in done)
            return f"line {rest[2]} of {NAMES[rest[1]]}{on(rest[0])}: {what}"
        if what in ("hear", "start", "gap", "crash", "cut off", "back"):
            text = {"hear": "line {1} is read from the log", "start": "restart, tags rebuilt from the log",
                    "gap": "a gap is seen: the index is rebuilt", "crash": "crash; index on disk at {1}",
                    "cut off": "cut off from the log", "back": "hears the log again"}[what]
            where = rest[-1] if what != "crash" else "A={0[0][0]} B={0[1][0]}".format(rest[1])
            return text.format(None, where) + on(rest[0])
        if what in ("trim", "bound"):
            text = {"trim": "the log is trimmed up to {}",
                    "bound": "commits up to {} are older than the bound"}[what]
            return text.format(rest[0])
        i, *more = rest
        kind, n, demands = self.sc.requests[i]
        if what == "split":
            return f"R{i + 1} ({kind}): split: states {more[0]}, content {more[1]}"
        who = f"R{i + 1} ({kind}{on(n)}{', demands the head' if demands else ''})"
        if what == "answer":
            via, stated, got, as_of = more
            made = f", made as of {as_of}" if as_of is not None else ""
            return f"{who}: answer by {via}{made}: states {stated}, content {got}"
        return f"{who}: {what} " + " ".join(str(x) for x in more)


MEANING = {
    "I1": "the answer is not the state at the position that it states",
    "I2": "a write answered 200 before the request is missing",
    "I3": "it states less than an earlier answer over the same collections",
    "I4": "a change applied here before the request (or older than the bound) is missing",
    "I5": "it states less than Weir-Min-Position",
}


def run(name, verbose=True, limit=None, only=None):
    """Explores a variant in every scenario. After a first counterexample, only for shorter ones."""
    rules = dict(RULES, **VARIANTS.get(name, {}))
    limit = limit or (1500 if name.startswith("one-view") else 290)
    total, seen, begun, best = 0, Counter(), time.time(), None
    order = SCENARIOS
    if name in TIER_VARIANTS:    # The others cannot tell them from the rules.
        order = sorted((sc for sc in SCENARIOS if not sc.rank[0]), key=lambda sc: sc.rank)
    if only:
        order = [sc for sc in SCENARIOS if sc.name == only or only == "one" and sc.rank[0]
                 or only == "tiers" and not sc.rank[0]]
        order += [sc for sc in EXTRA if sc.name == only or only == "extra"]
        if only == "every":
            order, limit = SCENARIOS + EXTRA, 7200
    for scenario in order:
        model = Model(scenario, rules)
        begun_here = time.time()
        shorter = len(best[2]) - 1 if best else 1000
        states, bad, trace = model.explore(limit - (time.time() - begun), shorter)
        total += states
        seen += model.seen
        if bad:
            best = bad, scenario.name, [model.words(label) for label in trace]
        if verbose:
            note = ", ".join(bad) + f" violated after {len(trace)} steps" if bad else trace or (
                "nothing shorter" if best else "")
            print(f"  {scenario.name:28} {states:>10,} states {time.time() - begun_here:6.1f} s  {note}",
                  flush=True)
        if trace == "out of time" and not best:
            return (trace,), scenario.name, [], total, seen
    if not verbose:
        return (*(best or ((), None, [])), total, seen)
    print(f"{name}: {total:,} states, {time.time() - begun:.0f} s")
    if best:
        for invariant in best[0]:
            print(f"  {invariant} is violated in '{best[1]}': {MEANING[invariant]}")
        for n, step in enumerate(best[2], 1):
            print(f"  {n:2}. {step}")
    else:
        print(f"  I1 to I5 hold in {len(order)} scenarios; I6 is I1 to I5 where collections are "
              "dropped, created or absent")
        print("  reached: " + ", ".join(f"{what} {n:,}" for what, n in sorted(seen.items())))
    return (*(best or ((), None, [])), total, seen)


def main(argv):
    if argv[:1] == ["--list"]:
        print("\n".join(VARIANTS))
    elif argv[:1] == ["--all"]:
        for name in ["rules", *VARIANTS]:
            if name.startswith("one-view"):
                continue
            bad, where, steps, total, _ = run(name, verbose=False)
            found = f"{', '.join(bad)} in '{where}', {len(steps)} steps" if bad else "holds"
            print(f"{name:28} {total:>11,} states  {found}", flush=True)
    elif argv and argv[0] not in ("rules", *VARIANTS):
        sys.exit(f"There is no variant '{argv[0]}'; --list names them.")
    else:
        run(argv[0] if argv else "rules", only=argv[1] if len(argv) > 1 else None)


if __name__ == "__main__":
    main(sys.argv[1:])
