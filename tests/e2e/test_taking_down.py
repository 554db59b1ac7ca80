"""Real nodes are taken down, and nothing of them is left: the last tests of each, after all others that use it."""

import signal

import pytest

from sandbox import lifecycle, processes
from tests.real_node import TIME_LIMIT, Node
from tests.real_site import Site

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

PROGRAMS = ("node-kubelet", "node-containerd")


@pytest.mark.xdist_group("node")
def test_down_leaves_nothing_after_kills_of_all_kinds(node: Node) -> None:
    victims = [node.program(name) for name in PROGRAMS]
    inside = node.inside()
    watcher = processes.find(node.sandbox.component("supervisor").pid)
    assert watcher
    assert set(victims) < set(inside)
    for victim in (watcher, *victims):
        processes.signal_to(victim, signal.SIGKILL)

    lifecycle.down(node.state, keep_data=False)

    assert not processes.wait_for_end(inside, TIME_LIMIT)
    assert node.traces() == []


@pytest.mark.xdist_group("site")
def test_down_leaves_nothing_of_a_whole_site(site: Site) -> None:
    inside = site.node.inside()

    lifecycle.down(site.node.state, keep_data=False)

    assert not processes.wait_for_end(inside, TIME_LIMIT)
    assert site.node.traces() == []
