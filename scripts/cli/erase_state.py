"""Has the running jobs forget a user.

What lies in their keyed state goes, and what they would build again from the topics stays away.
"""

from __future__ import annotations

import datetime as dt
import getpass
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from schemas.control import MODERATION, ControlMessage
from schemas.errors import DependencyUnavailableError
from schemas.settings import Settings
from schemas.user_events import UserErased, user_sha256
from scripts.cli.control_topic import ControlTopic, Replies
from scripts.cli.publisher import Prepared, UploadPublisher

JOBS: Final = (MODERATION, "feedback")
"""Jobs whose state knows users."""
_WAIT_S: Final = 5.0


def forget_state(
    settings: Settings, user_id: str, until: dt.datetime, contents: Iterable[str] = ()
) -> dict[str, Any]:
    """Publish what makes the jobs forget a user; gives what they answered.

    A control message, which stays and carries a hash of the id alone, so that no job that reads
    old records again remembers them; and events under the user's own key, which go with their
    topic's retention, as the uploads do: one that drops what the user's state holds at once, and
    one for each content, which drops what is held of that.

    Args:
        settings: name the broker and the topics.
        user_id: of the user.
        until: what the broker took up to then leaves no trace.
        contents: what the user wrote or spoke about, as far as it is known.

    Returns:
        `published`, how many `contents` were named, and by job how many subtasks there are and
        answered (a job that does not run answers nothing); or `error` where no broker did.
    """
    message = ControlMessage(
        kind="erase",
        name=user_sha256(user_id),
        text=f"until: {until.isoformat()}\n",
        author=getpass.getuser(),
        comment="scripts/erase",
        published_at=dt.datetime.now(dt.UTC),
    )
    named = [None, *sorted(set(contents))]
    key = user_id.encode("utf-8", "surrogatepass")
    try:
        with ControlTopic(settings) as topic:
            topic.publish(message)
            with UploadPublisher(settings) as publisher:
                for content in named:
                    event = UserErased(user_id=user_id, until=until, content_id=content)
                    record = msgspec.json.encode(event)
                    publisher.send(Prepared(settings.topics.user_events, None, key, record))
                publisher.flush()
                if publisher.failures:
                    raise DependencyUnavailableError("kafka", publisher.failures[0])
            replies = topic.wait_for(JOBS, message.key, message.digest, _WAIT_S)
    except DependencyUnavailableError as error:
        return {"published": False, "error": str(error)}
    return {"published": True, "contents": len(named) - 1} | {
        job: _answered(said) for job, said in replies.items()
    }


def forgotten(state: dict[str, Any]) -> bool:
    """Whether what `forget_state` gave says that no running job keeps anything."""
    answers = [state.get(job, {}) for job in JOBS]
    return bool(state["published"]) and all(
        not answer.get("refused") and answer.get("answered") == answer.get("subtasks")
        for answer in answers
    )


def _answered(replies: Replies) -> dict[str, Any]:
    refused = [ack.error for ack in replies.acks if not ack.ok]
    return {
        "subtasks": replies.subtasks,
        "answered": len(replies.acks),
        **({"refused": refused} if refused else {}),
    }
