"""How much a reporter's word counts."""

from __future__ import annotations

import datetime as dt

from schemas.features import UserFeatures
from schemas.feedback_job import ReporterPart
from schemas.upload import Account


def reporter_trust(
    config: ReporterPart, user: UserFeatures, account: Account, at: dt.datetime
) -> float:
    """Trust of a reporter, 0 to 1, four decimals.

        reputation / 100 * established

    `established` is the account's age as a share of `full_age_days`, at most 1; of an account
    whose age nobody tells it is 1 with enough uploads and `unknown_age` without. A verified one
    is `verified` at least. An established user of the default reputation has 0.5.

    Args:
        config: the figures.
        user: what the feature store knows.
        account: what the platform says.
        at: when the report was made: later age does not count.
    """
    if account.created_at is not None:
        age_days = (at - account.created_at).total_seconds() / 86_400.0
        established = min(max(age_days / config.full_age_days, 0.0), 1.0)
    elif user.known and user.uploads >= config.uploads:
        established = 1.0
    else:
        established = config.unknown_age
    if account.verified:
        established = max(established, config.verified)
    reputation = min(max(user.reputation, 0.0), 100.0) / 100.0
    return round(reputation * established, 4)
