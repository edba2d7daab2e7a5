"""Classes, instances, generators and closures of the code, in its tests."""

import pytest
from walled import assert_passes, assert_wrong_fails

CROSSING = {
    "class": (
        """
class Stack:

    def __init__(self):
        self.a = []

    def push(self, v):
        self.a.append(v)

    def pop(self):
        return self.a.pop()

    def __len__(self):
        return len(self.a)

    def __iter__(self):
        return iter(self.a)

    def __contains__(self, x):
        return x in self.a

    def __getitem__(self, i):
        return self.a[i]

    def __bool__(self):
        return bool(self.a)

    @property
    def top(self):
        return self.a[-1]

    @classmethod
    def of(cls, *v):
        s = cls()
        for x in v:
            s.push(x)
        return s

    @staticmethod
    def name():
        return 'stack'
""",
        """
s = Stack()
s.push(3)
s.push(4)
assert s.pop() == 4
assert len(s) == 1
assert list(s) == [3]
assert 3 in s
assert 5 not in s
assert s[0] == 3
assert s.top == 3
assert isinstance(s, Stack)
assert not isinstance(3, Stack)
assert Stack.of(1, 2)[1] == 2
assert Stack.name() == 'stack'
assert not Stack()
assert s
assert type(s).__name__ == 'Stack'
assert hasattr(s, 'top')
assert not hasattr(s, 'nope')
s.extra = 5
assert s.extra == 5
assert [x for x in s][:1] == [3]
""",
    ),
    "dataclass": (
        """
from dataclasses import dataclass, field

@dataclass(order=True)
class P:
    x: int
    y: int = 0
    tags: list = field(default_factory=list)

def mk():
    return P(1, 2)

def many():
    return [P(2), P(1)]
""",
        """
assert P(1, 2) == P(1, 2)
assert P(1) != P(2)
assert P(1) < P(2)
assert mk().x == 1
assert repr(mk()) == 'P(x=1, y=2, tags=[])'
assert mk() == P(1, 2)
assert sorted(many()) == [P(1), P(2)]
assert many()[0].x == 2
""",
    ),
    "operators": (
        """
class V:

    def __init__(s, x, y):
        s.x = x
        s.y = y

    def __add__(s, o):
        return V(s.x + o.x, s.y + o.y)

    def __mul__(s, k):
        return V(s.x * k, s.y * k)

    def __rmul__(s, k):
        return s * k

    def __matmul__(s, o):
        return s.x * o.x + s.y * o.y

    def __eq__(s, o):
        return isinstance(o, V) and (s.x, s.y) == (o.x, o.y)

    def __repr__(s):
        return f'V({s.x}, {s.y})'

    def __abs__(s):
        return (s.x ** 2 + s.y ** 2) ** 0.5

    def __neg__(s):
        return V(-s.x, -s.y)

    def __call__(s):
        return s.x
""",
        """
v = V(1, 2) + V(3, 4)
assert v.x == 4
assert v == V(4, 6)
assert (v * 2).x == 8
assert (2 * v).y == 12
assert v @ V(1, 1) == 10
assert str(v) == 'V(4, 6)'
assert abs(V(3, 4)) == 5
assert -V(1, 1) == V(-1, -1)
assert v() == 4
assert v != V(0, 0)
assert v != None
assert v * 2 == V(8, 12)
""",
    ),
    "inherit": (
        """
class A:

    def area(self):
        return 0

class B(A):

    def __init__(self, r):
        self.r = r

    def area(self):
        return self.r * 2
""",
        """
shapes = [B(1), B(2)]
assert [s.area() for s in shapes] == [2, 4]
assert isinstance(shapes[0], A)
assert issubclass(B, A)
""",
    ),
    "iterator class": (
        """
class It:

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if not self.n:
            raise StopIteration
        self.n -= 1
        return self.n
""",
        """
assert list(It(3)) == [2, 1, 0]
i = It(1)
assert next(i) == 0
try:
    next(i)
    assert False
except StopIteration:
    pass
""",
    ),
    "context": (
        """
class C:

    def __init__(self):
        self.l = []

    def __enter__(self):
        self.l.append('in')
        return self

    def __exit__(self, *a):
        self.l.append('out')
        return True
""",
        """
c = C()
with c as d:
    assert d is c
    raise ValueError
assert c.l == ['in', 'out']
""",
    ),
    "generator": (
        """
def f(n):
    for i in range(n):
        yield i
""",
        """
g = f(3)
assert next(g) == 0
assert list(g) == [1, 2]
assert sum(f(4)) == 6
assert [x for x in f(2)] == [0, 1]
import itertools
assert list(itertools.islice(f(10 ** 9), 2)) == [0, 1]
""",
    ),
    "generator send": (
        """
def f():
    x = (yield 1)
    yield (x * 2)
""",
        """
g = f()
next(g)
assert g.send(5) == 10
""",
    ),
    "recursion obj": (
        """
class N:

    def __init__(s, v):
        s.v = v
        s.l = None
        s.r = None

def ins(t, v):
    if t is None:
        return N(v)
    if v < t.v:
        t.l = ins(t.l, v)
    else:
        t.r = ins(t.r, v)
    return t

def walk(t):
    return walk(t.l) + [t.v] + walk(t.r) if t else []
""",
        """
t = None
for v in [3, 1, 2]:
    t = ins(t, v)
assert walk(t) == [1, 2, 3]
assert t.l.r.v == 2
t.l.v = 0
assert walk(t) == [0, 2, 3]
""",
    ),
    "returns callable": (
        """
def adder(n):
    return lambda x: x + n
""",
        """
assert adder(2)(3) == 5
assert callable(adder(1))
""",
    ),
    "closures": (
        """
def counter():
    n = 0

    def inc():
        nonlocal n
        n += 1
        return n
    return inc
""",
        """
c = counter()
c()
assert c() == 2
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
        ("class", "self.a.append(v)", "self.a.insert(0, v)"),
        ("generator", "yield i", "yield i + 1"),
    ],
)
def test_a_wrong_program_fails_where_its_values_cross(name: str, right: str, wrong: str) -> None:
    assert_wrong_fails(CROSSING, name, right, wrong)
