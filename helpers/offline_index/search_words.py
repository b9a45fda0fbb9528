"""Text as it is searched: one spelling for figures, no question words, stems, other words for the same."""

import contextlib
import re
import sqlite3
import unicodedata
from collections.abc import Sequence
from functools import cache

TOKENIZER = "porter unicode61 remove_diacritics 2"  # SQLite FTS5: no accents, stemmed (Porter 1980)
CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"  # scripts without spaces: each character counts as a word

_QUESTION_WORDS = """
a about all also am an and any are as at be been but by can could d did do does for from had has have he her
him his how i if in into is it its like ll many me much my no not of on or our out re s she should so some
such t tell than that the their them then there these they this those to ve was we were what when where
which while who whom whose why will with would you your
"""  # "us" is not among them: it is also the country
_THESAURUS = """
employee, staff, worker, workforce, personnel, people
job, role, position, post
pay, wage, salary, compensation, earnings
buy, bought, purchase, acquire, acquisition, order
profit, net income, earnings, margin
revenue, sales, turnover
company, firm, business, corporation, enterprise
seller, merchant, vendor, retailer, supplier
shop, store, retail, supermarket
warehouse, fulfillment center, distribution center, depot
parcel, package, shipment, item
delivery, shipping, transport, logistics
money, fund, cash, dollar
cost, price, expense, spend, budget
cheap, low cost, affordable, inexpensive
fast, quick, speed, rapid
grow, growth, increase, rise
cut, reduce, eliminate, decrease, lower
dismiss, fire, layoff, terminate
hire, recruit, employ
house, home, housing
doctor, physician, medical, healthcare, clinic
medicine, drug, medication, prescription, pharmacy
pandemic, covid, coronavirus, virus
climate, carbon, emission, environment
green, renewable, sustainable
car, vehicle, van, truck
plane, aircraft
chip, processor, cpu, gpu, semiconductor
artificial intelligence, ai, machine learning, language model
film, movie, video, streaming
boss, chief executive, ceo, leader
owner, shareholder, shareowner, investor
begin, start, launch, introduce, found
school, student, education, university, pupil
programmer, developer, coder
client, customer, consumer, shopper
member, subscriber, subscription
world, global, international, worldwide
percent, share, portion, proportion
injury, accident, incident, safety
phone, smartphone, mobile
advertisement, advertising, ads, marketing
"""  # general business English, one group a line


def storable(text: str) -> str:
    """Without NUL and lone surrogates, which SQLite does not take and some PDFs contain."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def canonical(text: str) -> str:
    """One spelling: 386 billion for $386B, 37 percent for 37%, 100000 for 100,000, US for U.S.; CJK apart."""
    text = unicodedata.normalize("NFKC", storable(text))
    text = re.sub(r"(?<=\d),(?=\d{3})|(?<=\b[A-Z])\.(?=[A-Z]\.)", "", text)
    for short, long in (("B|bn", "billion"), ("M", "million")):
        text = re.sub(rf"(?<=\d)\s?(?:{short})\b", f" {long}", text)
    return re.sub(rf"([{CJK}])", r" \1 ", re.sub(r"(?<=\d)\s?%", " percent", text))


def content_words(text: str) -> list[str]:
    """The words of a text in their order, lower case, without those that carry no subject (how, many, of)."""
    question_words = set(_QUESTION_WORDS.split())
    words = re.findall(r"\d+(?:\.\d+)+|\w+", canonical(text).lower())
    return [word for word in words if word not in question_words]


def stems(texts: Sequence[str]) -> list[list[str]]:
    """The stems of the content words of each text, made by FTS5 so that they are those of its index."""
    found: list[list[str]] = [[] for _ in texts]
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE VIRTUAL TABLE body USING fts5(words, tokenize='{TOKENIZER}')")
        database.execute("CREATE VIRTUAL TABLE term USING fts5vocab(body, instance)")
        rows = enumerate(" ".join(content_words(text)) for text in texts)
        database.executemany("INSERT INTO body(rowid, words) VALUES (?, ?)", rows)
        for number, stem in database.execute("SELECT doc, term FROM term ORDER BY doc, offset"):
            found[number].append(stem)
    return found


@cache
def _groups() -> list[dict[str, str]]:
    """Per group of the thesaurus: stems of a term -> the term."""
    groups = [line.split(", ") for line in _THESAURUS.strip().splitlines()]
    return [{" ".join(found): term for term, found in zip(group, stems(group), strict=True)} for group in groups]


def other_words(question: str) -> str:
    """What the thesaurus gives for the words of a question; empty when it knows none of them."""
    asked = f" {' '.join(stems([question])[0])} "
    found: dict[str, None] = {}
    for group in _groups():
        if any(f" {key} " in asked for key in group):
            found |= dict.fromkeys(term for key, term in group.items() if f" {key} " not in asked)
    return " ".join(found)
