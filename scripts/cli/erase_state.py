"""Has the running jobs forget a user.

What lies in their keyed state goes, and what they would build again from the topics stays away.
"""

from __future__ import annotations

import datetime as dt
import getpass
from typing import Any, Final

import msgspec

from schemas.control import ControlMessage
from schemas.errors import DependencyUnavailableError
from schemas.settings import Settings
from schemas.user_events import UserErased, user_sha256
from scripts.cli.control_topic import ControlTopic
from scripts.cli.publisher import Prepared, UploadPublisher

_WAIT_S: Final = 5.0


def forget_state(settings: Settings, user_id: str, until: dt.datetime) -> dict[str, Any]:
    """Publish what makes the jobs forget a user; gives what they answered.

    Two records: a control message, which stays and carries a hash of the id alone, so that no job
    that reads old records again remembers them; and an event under the user's own key, which
    drops what their state holds at once (it goes with its topic's retention, as the uploads do).

    Args:
        settings: name the broker and the topics.
        user_id: of the user.
        until: what the broker took up to then leaves no trace.

    Returns:
        `published`, and how many subtasks answered, or `error` where no broker did.
    """
    message = ControlMessage(
        kind="erase",
        name=user_sha256(user_id),
        text=f"until: {until.isoformat()}\n",
        author=getpass.getuser(),
        comment="scripts/erase",
        published_at=dt.datetime.now(dt.UTC),
    )
    event = msgspec.json.encode(UserErased(user_id=user_id, until=until))
    key = user_id.encode("utf-8", "surrogatepass")
    try:
        with ControlTopic(settings) as topic:
            topic.publish(message)
            with UploadPublisher(settings) as publisher:
                publisher.send(Prepared(settings.topics.user_events, None, key, event))
                publisher.flush()
                if publisher.failures:
                    raise DependencyUnavailableError("kafka", publisher.failures[0])
            replies = topic.wait(message.key, message.digest, _WAIT_S)
    except DependencyUnavailableError as error:
        return {"published": False, "error": str(error)}
    refused = [ack.error for ack in replies.acks if not ack.ok]
    return {
        "published": True,
        "subtasks": replies.subtasks,
        "answered": len(replies.acks),
        **({"refused": refused} if refused else {}),
    }
