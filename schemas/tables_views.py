"""Views over the analyst tables, in DuckDB's SQL: the questions that everybody asks.

A view may use the tables, the views before it, and `prices` (what, usd) from `conf/tables.yaml`.
Times are UTC. Contents that wait for evidence (interim decisions) count where a view says so.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class View(NamedTuple):
    """One view."""

    name: str
    comment: str
    """What a row is."""
    sql: str


_LABELS: Final = """
WITH said AS (
  SELECT content_id, moderation_id, rater_id AS who, IF(role = 'senior', 2, 1) AS rank,
         violates, said_at
  FROM verdicts WHERE NOT golden
  UNION ALL
  SELECT content_id, moderation_id, COALESCE(NULLIF(rater_id, ''), 'automatic'), 3,
         outcome = 'upheld', said_at
  FROM appeals WHERE outcome IN ('upheld', 'overturned')
), placed AS (
  -- Who does not name a decision speaks about the newest one before, or the first one after.
  SELECT s.who, s.rank, s.violates, s.said_at,
         COALESCE(s.moderation_id, arg_max(
           d.moderation_id,
           IF(d.decided_at <= s.said_at, 1, -1) * epoch_us(d.decided_at))) AS moderation_id
  FROM said s LEFT JOIN decisions d USING (content_id)
  GROUP BY s.content_id, s.moderation_id, s.who, s.rank, s.violates, s.said_at
), voted AS (
  -- Who finds one violation of several finds the content violating.
  SELECT moderation_id, rank, who, bool_or(violates) AS violates, min(said_at) AS said_at
  FROM placed WHERE moderation_id IS NOT NULL GROUP BY ALL
), counted AS (
  SELECT moderation_id, rank, count(*) FILTER (violates) AS ayes, count(*) AS votes,
         min(said_at) AS first_said_at
  FROM voted GROUP BY ALL
)
SELECT moderation_id, max(rank) AS rank,
       CASE sign(arg_max(2 * ayes - votes, rank)) WHEN 1 THEN TRUE WHEN -1 THEN FALSE END
         AS violates,
       arg_max(votes, rank) AS votes, min(first_said_at) AS first_said_at
FROM counted GROUP BY moderation_id
"""

_FOUND: Final = """
WITH found AS (
  SELECT DISTINCT e.id AS {name}, d.moderation_id, d.content_id, d.action, l.violates
  FROM (SELECT moderation_id, content_id, action, unnest(evidence) AS e
        FROM decisions WHERE NOT interim) d
  LEFT JOIN labels l USING (moderation_id)
  WHERE e.kind = '{kind}' AND NOT COALESCE(e.observe_only, FALSE)
)
SELECT {name}, count(*) AS decisions, count(DISTINCT content_id) AS contents,
       count(*) FILTER (action NOT IN ('allow', 'review')) AS acted,
       count(*) FILTER (action NOT IN ('allow', 'review') AND violates IS NOT NULL) AS judged,
       count(*) FILTER (action NOT IN ('allow', 'review') AND NOT violates) AS overturned,
       overturned / NULLIF(judged, 0) AS overturn_rate
FROM found GROUP BY {name} ORDER BY decisions DESC, {name}
"""

VIEWS: Final = (
    View(
        "latest_cases",
        "Each content once, as it was decided last, on whichever day.",
        """
SELECT * FROM cases
QUALIFY row_number() OVER (
  PARTITION BY content_id ORDER BY upload_revision DESC, revision DESC, asked_at DESC
) = 1
""",
    ),
    View(
        "labels",
        "Each decision that people judged: whether it breaks the policy by the highest of"
        " appeal (3), senior reviewer (2) and reviewer (1), by majority; NULL: a tie.",
        _LABELS,
    ),
    View(
        "latency_by_minute",
        "Each minute: milliseconds from what asked for a decision to the decision.",
        """
SELECT time_bucket(INTERVAL 1 minute, decided_at) AS minute, count(*) AS decisions,
       quantile_cont(latency_ms, 0.5) AS p50_ms, quantile_cont(latency_ms, 0.95) AS p95_ms,
       quantile_cont(latency_ms, 0.99) AS p99_ms, max(latency_ms) AS max_ms
FROM decisions GROUP BY minute ORDER BY minute
""",
    ),
    View(
        "volume_by_minute",
        "Each minute and type of content: what was asked for, and how it was decided.",
        """
SELECT time_bucket(INTERVAL 1 minute, asked_at) AS minute, content_type,
       count(*) AS decisions, count(DISTINCT content_id) AS contents,
       count(*) FILTER (status = 'approved') AS approved,
       count(*) FILTER (status = 'rejected') AS rejected,
       count(*) FILTER (status = 'pending_review') AS pending_review
FROM decisions GROUP BY ALL ORDER BY minute, content_type
""",
    ),
    View(
        "block_rate_by_community",
        "Each community: share of contents that are rejected, and the share of those judged by"
        " people that break nothing (false positives).",
        """
SELECT COALESCE(community_id, '') AS community_id, count(*) AS contents,
       count(*) FILTER (status = 'rejected') AS blocked,
       blocked / contents AS block_rate,
       count(*) FILTER (status = 'rejected' AND violates IS NOT NULL) AS judged,
       count(*) FILTER (status = 'rejected' AND NOT violates) AS false_positives,
       false_positives / NULLIF(judged, 0) AS false_positive_share
FROM latest_cases LEFT JOIN labels USING (moderation_id)
WHERE NOT interim GROUP BY ALL ORDER BY contents DESC, community_id
""",
    ),
    View(
        "action_mix_by_category",
        "Each day, category and action: decisions, and their share of the category's.",
        """
SELECT dt, category, action, count(*) AS decisions,
       count(*) / sum(count(*)) OVER (PARTITION BY dt, category) AS share
FROM decisions WHERE NOT interim GROUP BY dt, category, action
ORDER BY dt, category, count(*) DESC, action
""",
    ),
    View(
        "daily_confusion_matrix",
        "Each day: decisions that people judged; rejected counts as positive, approved as"
        " negative, pending review as neither.",
        """
SELECT dt, count(*) AS judged,
       count(*) FILTER (status = 'rejected' AND violates) AS true_positives,
       count(*) FILTER (status = 'rejected' AND NOT violates) AS false_positives,
       count(*) FILTER (status = 'approved' AND NOT violates) AS true_negatives,
       count(*) FILTER (status = 'approved' AND violates) AS false_negatives,
       count(*) FILTER (status = 'pending_review') AS undecided,
       true_positives / NULLIF(true_positives + false_positives, 0) AS precision,
       true_positives / NULLIF(true_positives + false_negatives, 0) AS recall
FROM decisions JOIN labels USING (moderation_id)
WHERE violates IS NOT NULL GROUP BY dt ORDER BY dt
""",
    ),
    View(
        "top_rules",
        "Each rule that was found in a decision: how often, how often the decision acted, and"
        " the share of those judged by people that break nothing.",
        _FOUND.format(name="rule_id", kind="rule"),
    ),
    View(
        "top_bank_entries",
        "Each bank entry that matched: the same.",
        _FOUND.format(name="bank_entry", kind="bank"),
    ),
    View(
        "appeal_outcomes",
        "Each day and category: appeals by their end; escalated ones have none yet.",
        """
SELECT a.dt, COALESCE(NULLIF(a.category, ''), d.category, '') AS category,
       count(*) AS appeals,
       count(*) FILTER (outcome = 'upheld') AS upheld,
       count(*) FILTER (outcome = 'overturned') AS overturned,
       count(*) FILTER (outcome = 'escalated') AS escalated,
       overturned / NULLIF(upheld + overturned, 0) AS overturn_rate,
       count(*) FILTER (automatic) AS automatic,
       median(epoch(a.said_at - a.appealed_at)) / 3600 AS median_hours
FROM (
  SELECT * FROM appeals QUALIFY row_number() OVER (
    PARTITION BY appeal_id ORDER BY outcome = 'escalated', said_at DESC) = 1
) a
LEFT JOIN latest_cases d USING (content_id)
GROUP BY ALL ORDER BY a.dt, category
""",
    ),
    View(
        "reviewer_load",
        "Each day and reviewer: what was answered, and how long it took.",
        """
SELECT dt, rater_id, max(role) AS role, count(DISTINCT content_id) AS contents,
       count(*) AS verdicts, count(*) FILTER (golden) AS golden,
       sum(seconds) AS seconds, median(seconds) AS median_seconds,
       count(DISTINCT content_id) FILTER (
         category IN ('csam', 'violence', 'gore', 'self_harm')) AS disturbing
FROM verdicts GROUP BY ALL ORDER BY dt, verdicts DESC, rater_id
""",
    ),
    View(
        "degraded_time",
        "Each day and dependency that was missing: decisions that were made without it, and the"
        " minutes in which there were any.",
        """
SELECT dt, dependency, count(*) AS decisions,
       count(DISTINCT time_bucket(INTERVAL 1 minute, decided_at)) AS minutes,
       min(decided_at) AS first_at, max(decided_at) AS last_at
FROM (SELECT dt, decided_at, unnest(degraded) AS dependency FROM decisions)
GROUP BY ALL ORDER BY dt, dependency
""",
    ),
    View(
        "label_history",
        "Each label that somebody gave or denied a user, and when that ended: it lapsed, or the"
        " same source said something else.",
        """
SELECT user_id, name, source, present, reason, given_by, said_at,
       LEAST(expires_at, lead(said_at) OVER (
         PARTITION BY user_id, name, source ORDER BY said_at, record_offset)) AS ended_at
FROM user_labels ORDER BY user_id, name, said_at
""",
    ),
    View(
        "latest_campaigns",
        "Each campaign as it was told last.",
        """
SELECT * FROM campaigns
QUALIFY row_number() OVER (
  PARTITION BY campaign_id ORDER BY first_seen DESC, revision DESC
) = 1
""",
    ),
    View(
        "campaign_uploads",
        "Each decision that met the bank of a campaign, and whether that acted or was observed.",
        """
SELECT DISTINCT regexp_extract(e.id, '^campaign_([0-9a-f]{16})', 1) AS campaign_id, moderation_id,
       content_id, user_id, community_id, asked_at, status, action,
       COALESCE(e.observe_only, FALSE) AS observe_only
FROM (SELECT *, unnest(evidence) AS e FROM decisions)
WHERE e.kind = 'bank' AND starts_with(e.id, 'campaign_')
""",
    ),
    View(
        "quality_faults",
        "Each check of a closed day or of training rows that failed.",
        """
SELECT suite, day, started_at, c."check", c.severity, c.expected, c.observed, c.unexpected,
       c."rows"
FROM (SELECT DISTINCT ON (suite, started_at) suite, day, started_at, unnest(checks) AS c
      FROM quality)
WHERE NOT c.success ORDER BY started_at, suite, c."check"
""",
    ),
    View(
        "cost",
        "Each day: machines and reviewers at the prices of conf/tables.yaml, US dollars.",
        """
SELECT dt, contents, decisions, machine_usd, review_hours, review_hours * review_hour_usd
         AS review_usd, machine_usd + review_usd AS usd, usd / contents AS usd_per_content
FROM (
  SELECT dt, count(DISTINCT content_id) AS contents, count(*) AS decisions,
         (SELECT sum(usd) FROM prices WHERE what = 'machine_hour')
           * (SELECT sum(usd) FROM prices WHERE what = 'machines')
           * (floor(epoch(max(decided_at)) / 3600)
              - floor(epoch(min(decided_at)) / 3600) + 1) AS machine_usd
  FROM decisions GROUP BY dt
)
LEFT JOIN (
  SELECT dt, sum(seconds) / 3600 AS spent FROM verdicts GROUP BY dt
) USING (dt)
CROSS JOIN (SELECT sum(usd) AS review_hour_usd FROM prices WHERE what = 'review_hour')
CROSS JOIN LATERAL (SELECT COALESCE(spent, 0) AS review_hours)
ORDER BY dt
""",
    ),
)
