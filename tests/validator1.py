"""The client's side of tests/validator1.rs: calls each method with generated inputs and checks the results."""

import datetime
import random
import socket
import sys
import unittest
import xmlrpc.client

ROUNDS = 20
INT = 2**31 - 1
CHARACTERS = "<>&'\"<>&'\"]]> \n\tabcäß€😀\u2028\ufffd"

url = sys.argv.pop()
seed = random.randrange(2**32)
print(f"validator1.py: {url}, seed {seed}")
random.seed(seed)
socket.setdefaulttimeout(60)
validator1 = xmlrpc.client.ServerProxy(url, allow_none=True, use_builtin_types=True).validator1


def text(longest=40):
    return "".join(random.choices(CHARACTERS, k=random.randint(0, longest)))


def number(most=INT):
    return random.randint(-most - 1, most)


def stooges(most=INT // 3 - 1):
    return {name: number(most) for name in ("moe", "larry", "curly")}


def date():
    return datetime.datetime(1000, 1, 1) + datetime.timedelta(seconds=random.randrange(8999 * 365 * 86400))


def double():
    return random.choice([0.0, -0.5, 1e300, 5e-324, float("inf"), number() / 7, random.random() * 10.0**number(300)])


def value(depth):
    leaves = [number, text, double, date, lambda: random.randbytes(random.randint(0, 200)), lambda: None,
              lambda: random.random() < 0.5]
    if depth and random.random() < 0.5:
        inner = [value(depth - 1) for _ in range(random.randint(0, 8))]
        return inner if random.random() < 0.5 else {f"{text(5)}{at}": item for at, item in enumerate(inner)}
    return random.choice(leaves)()


class Validator1(unittest.TestCase):
    def each(self, method, generate, expected):
        for _ in range(ROUNDS):
            args = generate()
            self.assertEqual(method(*args), expected(*args), args)

    def test_array_of_structs(self):
        self.each(validator1.arrayOfStructsTest,
                  lambda: ([stooges(10**7) for _ in range(random.randint(0, 100))],),
                  lambda structs: sum(struct["curly"] for struct in structs))

    def test_count_the_entities(self):
        self.each(validator1.countTheEntities,
                  lambda: (text(1000),),
                  lambda string: {"ctLeftAngleBrackets": string.count("<"), "ctRightAngleBrackets": string.count(">"),
                                  "ctAmpersands": string.count("&"), "ctApostrophes": string.count("'"),
                                  "ctQuotes": string.count('"')})

    def test_easy_struct(self):
        self.each(validator1.easyStructTest, lambda: (stooges(),), lambda struct: sum(struct.values()))

    def test_echo_struct(self):
        self.each(validator1.echoStructTest,
                  lambda: ({text(10): value(4) for _ in range(random.randint(0, 40))},),
                  lambda struct: struct)

    def test_many_types(self):
        self.each(validator1.manyTypesTest,
                  lambda: (number(), random.random() < 0.5, text(), double(), date(), random.randbytes(300)),
                  lambda *args: list(args))

    def test_moderate_size_array(self):
        self.each(validator1.moderateSizeArrayCheck,
                  lambda: ([text() for _ in range(random.randint(100, 200))],),
                  lambda strings: strings[0] + strings[-1])

    def test_nested_struct(self):
        def calendar():
            return ({str(year): {f"{month:02}": {f"{day:02}": stooges() for day in range(1, 29)}
                                 for month in (3, 4, 5)} for year in (1999, 2000)},)
        self.each(validator1.nestedStructTest, calendar, lambda years: sum(years["2000"]["04"]["01"].values()))

    def test_simple_struct_return(self):
        self.each(validator1.simpleStructReturnTest,
                  lambda: (number(2 * 10**6),),
                  lambda n: {"times10": n * 10, "times100": n * 100, "times1000": n * 1000})

    def test_line_ends_become_line_feeds(self):
        self.assertEqual(validator1.echoStructTest({"a": "1\r\n2\r3\n"}), {"a": "1\n2\n3\n"})

    def test_an_unknown_method_is_a_fault(self):
        with self.assertRaisesRegex(xmlrpc.client.Fault, "no method validator1.nosuch with 0 such parameters"):
            validator1.nosuch()


if __name__ == "__main__":
    unittest.main()
