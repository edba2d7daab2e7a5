"""What tests lend the code: functions, iterators, instances, and containers that it changes in place."""

import pytest
from walled import assert_passes, assert_wrong_fails, verdict

CROSSING = {
    "callable": (
        """
def apply(f, x):
    return f(x)
""",
        """
assert apply(lambda v: v + 1, 2) == 3
assert apply(len, [1, 2]) == 2
import math, operator
assert apply(math.sqrt, 4) == 2.0
assert apply(str.upper, 'a') == 'A'
assert apply(operator.neg, 4) == -4

def g(v):
    return [v]
assert apply(g, 1) == [1]
assert apply(int, '3') == 3
assert apply(max, [1, 5]) == 5
""",
    ),
    "decorator": (
        """
def twice(f):

    def g(*a):
        return f(f(*a))
    return g
""",
        """
@twice
def h(x):
    return x + 1
assert h(1) == 3
assert twice(lambda x: x * 2)(1) == 4
""",
    ),
    "callback raising": (
        """
def f(g):
    try:
        g()
    except ValueError as e:
        return str(e)
    except Exception as e:
        return type(e).__name__
""",
        """
def bad():
    raise ValueError('x')
assert f(bad) == 'x'

def b2():
    raise KeyError('k')
assert f(b2) == 'KeyError'
""",
    ),
    "sort key": (
        """
def f(x, key):
    return sorted(x, key=key)
""",
        """
assert f([1, -3, 2], abs) == [1, 2, -3]
assert f([1, -3, 2], lambda v: -v) == [2, 1, -3]
assert f(['b', 'a'], key=str) == ['a', 'b']
""",
    ),
    "gen in": (
        """
def f(it):
    return sum(it)
""",
        """
assert f((x for x in [1, 2])) == 3
assert f(iter([4])) == 4
assert f(map(int, ['1', '2'])) == 3
""",
    ),
    "in place": (
        """
def f(x):
    x.sort()

def g(d):
    d['k'] = 1

def h(m):
    m[0][0] = 9
    return m

def s(x):
    x.add(5)

def rot(m):
    m[:] = [list(r) for r in zip(*m[::-1])]
""",
        """
x = [3, 1]
f(x)
assert x == [1, 3]
d = {}
g(d)
assert d == {'k': 1}
m = [[1], [2]]
r = m[0]
h(m)
assert m == [[9], [2]]
assert r == [9]
z = {1}
s(z)
assert z == {1, 5}
m = [[1, 2], [3, 4]]
rot(m)
assert m == [[3, 1], [4, 2]]
""",
    ),
    "test class in": (
        """
def rev(n):
    p = None
    while n:
        n.next, p, n = (p, n, n.next)
    return p

def total(n):
    t = 0
    while n is not None:
        t += n.val
        n = n.next
    return t
""",
        """
class Node:

    def __init__(self, val, next=None):
        self.val = val
        self.next = next
a = Node(1, Node(2, Node(3)))
assert total(a) == 6
b = rev(a)
assert b.val == 3
assert b.next.val == 2
assert b.next.next is a
assert a.next is None
""",
    ),
}
"""What a right program and its tests may give each other → the code and its test."""


@pytest.mark.parametrize(("code", "test"), CROSSING.values(), ids=CROSSING.keys())
def test_values_that_are_no_plain_data_cross(code: str, test: str) -> None:
    assert_passes(code, test)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("callable", "return f(x)", "return x"),
        ("in place", "x.sort()", "x.clear()"),
        ("test class in", "t += n.val", "t -= n.val"),
    ],
)
def test_a_wrong_program_fails_where_its_values_cross(name: str, right: str, wrong: str) -> None:
    assert_wrong_fails(CROSSING, name, right, wrong)


NAMES = ("__globals__", "__code__", "__closure__", "__self__", "__init__", "__class__", "__dict__", "gi_frame")


@pytest.mark.parametrize("lent", ["lambda: 1", "Node()", "Node", "Node().method", "(x for x in [1])", "iter([1])"])
def test_the_code_sees_nothing_of_the_tests_behind_what_they_lend(lent: str) -> None:
    ask = "side.ask({'do': 'get', 'on': 0, 'name': name})"
    code = f"""
def f(g):
    seen, side = [], g._wall_side
    for name in {NAMES!r}:
        try: seen.append({ask})
        except AttributeError: seen.append(None)
    return seen
"""
    test = f"class Node:\n    def method(self): return 1\nassert f({lent}) == [None] * {len(NAMES)}"
    outcome = verdict(code, test)
    assert outcome.passed, outcome.reason
