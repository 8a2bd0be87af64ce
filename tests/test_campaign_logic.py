"""Campaigns without an engine: what becomes one, what does not, and what follows from it."""

from __future__ import annotations

import random

from operators.feedback_logic import Arrival
from tests.campaign_kit import (
    EXACT,
    MINUTE,
    START,
    START_MS,
    TEXT,
    TOPICS,
    Job,
    config,
    crowd,
    newest,
    upload,
    varied,
)
from udfs.banks import ExactBanks, content_hash, hash_text
from udfs.campaign_bank import GOOD_BANK, good_text
from udfs.normalise import normalise

NEW = config()


def banks_of(job: Job) -> ExactBanks:
    banks = ExactBanks.parse("version: 1\nbanks: []\n")
    for text in job.banks().values():
        banks = banks.with_delta(text)
    return banks


# --- texts ---------------------------------------------------------------------------------------


def test_the_same_text_from_ten_new_accounts_is_a_campaign() -> None:
    assert not Job(NEW).take(crowd(9)).campaigns()
    job = Job(NEW).take(crowd(10))
    found = newest(job)
    assert (found.kind, found.why, found.status, found.mode) == (
        "exact",
        "users",
        "live",
        "observe",
    )
    assert (found.users, found.uploads, found.communities) == (10, 10, 0)
    assert found.mean_weight == 1.0
    assert found.hashes == [hash_text(EXACT)]
    assert found.first_seen == START
    assert set(found.examples) <= {f"c{n}" for n in range(10)}
    assert found.excerpt == ""
    # One campaign, though four groups have told of it.
    assert {each.campaign_id for each in job.campaigns()} == {found.campaign_id}
    assert len(job.kept.rows) == 1


def test_its_bank_matches_later_copies_until_it_expires_and_only_observes() -> None:
    job = Job(NEW).take(crowd(10))
    assert list(job.banks()) == [f"bank/campaign_{newest(job).campaign_id}"]
    banks = banks_of(job)
    ends = newest(job).expires_at.timestamp() * 1000
    [match] = banks.match(content_hash(normalise(EXACT.upper())), ends - 1)
    assert (match.category, match.observe_only, match.confidence) == ("spam", True, 1.0)
    assert not banks.match(hash_text(EXACT), ends)
    # One text needs no sketch, which would cost every upload.
    assert not banks.has_near


def test_copies_that_differ_are_one_campaign_and_its_bank_knows_others() -> None:
    job = Job(NEW).take(varied(25))
    found = newest(job)
    assert found.kind == "near"
    assert found.users >= 10
    assert 0.7 <= found.similarity < 1
    assert len(job.kept.rows) == 1
    banks = banks_of(job)
    other = f"Hey, {TEXT.format(n=77)} Bye now"
    [match] = banks.match_near(normalise(other).text, START_MS)
    assert match.observe_only
    assert not banks.match_near(normalise("The council meets on Thursday to talk about it.").text)


def test_disguised_copies_are_the_same_text() -> None:
    copies = [EXACT.upper(), EXACT.replace("o", "о"), EXACT.replace("trading", "tr\u200bading")]  # noqa: RUF001 - look-alikes are what is tested
    job = Job(NEW).take([upload(n, copies[n % 3]) for n in range(10)])
    assert newest(job).kind == "exact"


def test_mode_off_records_and_publishes_nothing() -> None:
    job = Job(config(bank={"mode": "off"})).take(crowd(12))
    assert newest(job).mode == "off"
    assert not job.banks()


def test_mode_act_decides() -> None:
    [match] = banks_of(Job(config(bank={"mode": "act"})).take(crowd(12))).match(hash_text(EXACT))
    assert not match.observe_only


def test_an_excerpt_is_carried_where_a_setting_allows_it() -> None:
    job = Job(config(excerpt_chars=10)).take(crowd(10))
    assert newest(job).excerpt == EXACT[:10]


# --- what is none --------------------------------------------------------------------------------


def test_one_user_who_repeats_himself_is_no_campaign() -> None:
    assert not Job(NEW).take(upload(n, EXACT, user="u") for n in range(500)).campaigns()


def test_old_accounts_that_share_a_text_are_no_campaign_however_many() -> None:
    mixed = [
        upload(n, EXACT, age_days=2 if n % 10 == 0 else 900, minute=n / 100) for n in range(600)
    ]
    job = Job(NEW).take(mixed)
    assert not job.campaigns()
    # The same crowd with a third of new accounts is one.
    third = [
        upload(n, EXACT, age_days=2 if n % 3 == 0 else 900, minute=n / 100) for n in range(600)
    ]
    assert Job(NEW).take(third).campaigns()


def test_accounts_of_unknown_age_need_more() -> None:
    assert not Job(NEW).take(crowd(24, age_days=None)).campaigns()
    assert Job(NEW).take(crowd(25, age_days=None)).campaigns()


def test_a_few_users_who_post_into_many_communities_are_one() -> None:
    posts = [
        upload(n, EXACT, user=f"u{n % 2}", community=f"k{n}", age_days=900, minute=n / 10)
        for n in range(12)
    ]
    assert not Job(NEW).take(posts[:11]).campaigns()
    found = newest(Job(NEW).take(posts))
    assert (found.why, found.communities, found.users) == ("communities", 12, 2)
    # What many old accounts share in many communities is not.
    each = [upload(n, EXACT, community=f"k{n}", age_days=900) for n in range(200)]
    assert not Job(NEW).take(each).campaigns()


def test_short_texts_never_count() -> None:
    job = Job(NEW).take(crowd(60, "Happy birthday to you!"))
    assert not job.campaigns()
    assert not job.groups
    assert job.metrics.value("campaign_copies", family="short") == 60


def test_copies_that_are_further_apart_than_the_window_do_not_count_together() -> None:
    slow = [upload(n, EXACT, minute=n * 61) for n in range(30)]
    assert not Job(NEW).take(slow).campaigns()
    assert Job(NEW).take(upload(n, EXACT, minute=n * 6) for n in range(10)).campaigns()


def test_phrases_and_known_good_banks_are_no_campaign() -> None:
    near = EXACT.replace("4821", "31") + " :)"
    assert not Job(config(known_good=[EXACT])).take(crowd(20)).campaigns()
    job = Job(config(known_good=[EXACT])).take(crowd(20, near))
    assert not job.campaigns()
    assert job.metrics.value("campaigns", event="known_good") > 0
    entry = f"[{{hash: {hash_text(EXACT)}, id: quote}}]"
    good = f"  - {{id: quotes, category: '', polarity: good, entries: {entry}}}\n"
    assert not Job(NEW, good).take(crowd(20)).campaigns()
    # A known-bad one does not keep it from being told.
    bad = f"  - {{id: scams, category: spam, entries: {entry}}}\n"
    assert Job(NEW, bad).take(crowd(20)).campaigns()


def test_what_cannot_be_read_is_passed_over() -> None:
    wrong = Arrival(b'{"content_id": "c1", "text": 3}', TOPICS.content_text, 0, 0, START_MS)
    job = Job(NEW).take([wrong])
    assert not job.groups
    assert job.metrics.value("campaign_copies", family="unreadable") == 1


def test_a_group_by_chance_is_no_campaign() -> None:
    """Texts that share a group without being near each other."""
    rng = random.Random(3)  # noqa: S311 - draws examples, guards nothing
    words = "alpha beta gamma delta omega sigma kappa theta zeta iota lambda epsilon rho tau"
    drawn = [" ".join(rng.choice(words.split()) for _ in range(25)) for _ in range(120)]
    job = Job(config(texts={"bands": 16})).take(upload(n, text) for n, text in enumerate(drawn))
    assert not job.campaigns()
    assert job.metrics.value("campaigns", event="loose") > 0


# --- growth, banks, people -----------------------------------------------------------------------


def test_a_campaign_is_told_again_when_it_has_doubled() -> None:
    job = Job(NEW).take(crowd(160))
    told = [(each.revision, each.users) for each in job.campaigns()]
    assert told == [(0, 10), (1, 20), (2, 40), (3, 80), (4, 160)]


def test_a_campaign_by_communities_is_told_again_when_they_have_doubled() -> None:
    posts = [upload(n, EXACT, user="u", community=f"k{n}", minute=n / 100) for n in range(50)]
    told = [(each.revision, each.communities) for each in Job(NEW).take(posts).campaigns()]
    assert told == [(0, 12), (1, 24), (2, 48)]
    # More communities of a crowd's text are no news.
    crowded = [upload(n, EXACT, community=f"k{n // 3}", minute=n / 100) for n in range(19)]
    assert len(Job(NEW).take(crowded).campaigns()) == 1


def test_an_exact_campaign_that_begins_to_differ_gets_a_sketch() -> None:
    job = Job(NEW).take(crowd(12))
    assert not banks_of(job).has_near
    job.take(upload(100 + n, TEXT.format(n=n) + " Hurry", minute=1) for n in range(60))
    assert newest(job).kind == "near"
    assert banks_of(job).has_near
    assert len(job.banks()) == 1


def test_a_campaign_that_goes_on_holds_its_bank_and_one_that_stops_ends() -> None:
    going = [upload(n, EXACT, minute=n * 3) for n in range(24 * 20)]
    job = Job(NEW).take(going)
    first, last = job.campaigns()[0], newest(job)
    assert (last.expires_at - first.expires_at).total_seconds() > 11 * 3600
    over = last.expires_at.timestamp() * 1000 + 60 * MINUTE
    assert job.due_ms is not None
    assert abs(job.due_ms - over) < 10
    job.wake(over - 10)
    assert job.banks()
    job.wake(over + 10)
    assert not job.banks()
    assert newest(job).status == "ended"
    assert newest(job).revision == last.revision + 1
    assert not job.kept.rows
    assert job.due_ms is None


def test_what_a_person_lets_act_goes_on_acting_when_it_grows() -> None:
    job = Job(NEW).take(crowd(10))
    job.read_back()
    (text,) = job.banks().values()
    job.publish("bank", newest(job).bank, text.replace("observe_only: true", "observe_only: false"))
    job.restart()
    job.take(upload(50 + n, EXACT, minute=1) for n in range(10))
    [match] = banks_of(job).match(hash_text(EXACT))
    assert not match.observe_only


def test_what_a_person_takes_back_is_not_published_again() -> None:
    job = Job(NEW).take(crowd(10))
    key = next(iter(job.banks()))
    job.read_back()
    job.control(key, None)
    before = len(job.of(TOPICS.control))
    job.restart()
    job.take(upload(50 + n, EXACT, minute=1) for n in range(40))
    assert newest(job).users >= 40
    assert len(job.of(TOPICS.control)) == before


def test_what_a_person_dismisses_ends_and_does_not_come_back() -> None:
    job = Job(NEW).take(varied(25))
    campaign = newest(job)
    job.publish("bank", f"{GOOD_BANK}.x", good_text(campaign, note="a song", distance=24))
    assert newest(job).status == "known_good"
    assert not job.banks()
    before = len(job.campaigns())
    job.restart()
    job.take(upload(500 + n, f"{TEXT.format(n=n)} la la", minute=2) for n in range(60))
    assert len(job.campaigns()) == before
    # Who takes that back has campaigns again.
    job.control(f"bank/{GOOD_BANK}.x", None)
    job.take(upload(900 + n, f"{TEXT.format(n=n)} la la", minute=2) for n in range(100))
    assert len(job.campaigns()) > before


def test_a_bank_that_nobody_knows_any_more_is_taken_back() -> None:
    job = Job(NEW).take(crowd(10))
    ((key, text),) = job.banks().items()
    other = Job(NEW)
    other.publish("bank", key.removeprefix("bank/"), text)
    other.restart()
    other.wake(newest(job).expires_at.timestamp() * 1000 + 61 * MINUTE)
    assert [(record.key, record.value) for record in other.of(TOPICS.control)] == [
        (key.encode(), b"")
    ]
    assert not other.messages.rows


def test_messages_that_are_wrong_change_nothing() -> None:
    job = Job(NEW)
    job.control("bank/x", b"{")
    job.publish("bank", "y", "version: 1\nbank: y\nremove: [nobody]\n")
    job.publish("rules", "", "no bank")
    assert Job(NEW).take(crowd(10)).records == job.take(crowd(10)).records


def test_there_are_no_more_campaigns_than_the_bound() -> None:
    job = Job(config(bounds={"campaigns": 2}))
    for number, word in enumerate(["tulips and clay pots", "wooden boats", "copper kettles"]):
        text = f"{word} are what everybody in this street has always wanted to sell {word}"
        job.take(upload(100 * number + n, text) for n in range(10))
    assert len(job.kept.rows) == 2
    assert job.metrics.value("campaigns", event="full") > 0


def test_a_campaign_of_the_past_is_told_and_gets_no_bank() -> None:
    job = Job(NEW)
    job.now_ms = START_MS + 48 * 60 * MINUTE
    assert newest(job.take(crowd(10))).status == "live"
    assert not job.banks()


def test_a_kept_campaign_that_cannot_be_read_is_forgotten() -> None:
    job = Job(NEW).take(crowd(10))
    job.kept.rows = dict.fromkeys(job.kept.rows, b"\x09")
    job.restart()
    job.take(upload(50 + n, EXACT, minute=1) for n in range(10))
    assert job.metrics.value("state_resets") == 1
    assert [(each.revision, each.users) for each in job.campaigns()] == [(0, 10), (0, 20)]
