"""The media job of a demo: drawn pictures and clips, and a job beside the moderation job."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from schemas.settings import Settings
from scripts.cli.local_stack import DEFAULT_DIR
from scripts.cli.processes import Process
from scripts.cli.samples import MEDIA_BANKS, MEDIA_URIS

_MARK: Final = "drawn"


class DemoMedia:
    """Draws what the samples name, and looks at it.

    Args:
        settings: of the run.
        directory: of the run.
        pid_file: the job's.
        say: told what goes wrong.
    """

    def __init__(
        self, settings: Settings, *, directory: Path, pid_file: Path, say: Callable[[str], None]
    ) -> None:
        self.job = Process(pid_file)
        self.folder = DEFAULT_DIR.parent / "sample-media"
        self.log = DEFAULT_DIR.parent / "logs" / f"{pid_file.stem}.log"
        self._settings = settings
        self._directory = directory
        self._say = say
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the moderation job has to know of it: a bank that holds one of the pictures."""
        return {"SLUICE_CASCADE__MEDIA_BANKS": str(MEDIA_BANKS)}

    def at_home(self, line: bytes) -> bytes:
        """A line of samples, naming what was drawn instead of a bucket that there is not."""
        return line.replace(MEDIA_URIS.encode(), f"{self.folder.as_uri()}/".encode())

    def start(self, env: Mapping[str, str], *, keep: bool) -> None:
        """Draw what is not drawn yet, then start the job; in the background.

        Args:
            env: its environment.
            keep: the job outlives this command.
        """
        self._thread = threading.Thread(target=self._start, args=(env, keep), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the job, or do not start it any more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self.job.stop(patience_s=20.0)

    def _start(self, env: Mapping[str, str], keep: bool) -> None:
        # What draws is imported when everything else has been started.
        from scripts.cli.sample_media import draw_all, media_config  # noqa: PLC0415

        try:
            if not (self.folder / _MARK).is_file():
                shutil.rmtree(self.folder, ignore_errors=True)
                draw_all(self.folder)
                (self.folder / _MARK).touch()
            config = media_config(self._directory, self.folder, self._settings.media.config)
            if self._stopped.is_set():
                return
            profile = ["--profile", self._settings.profile]
            module = [sys.executable, "-P", "-m", "scripts.cli.run_media", *profile]
            self.job.start(
                module,
                log=self.log,
                out=self._directory / "media.out",
                env={
                    **env,
                    "SLUICE_MEDIA__CONFIG": str(config),
                    # Evidence of a batch comes at once; here somebody is watching.
                    "SLUICE_MEDIA__BATCH": "4",
                },
                die_with_parent=not keep,
            )
            if not keep:
                # For the kernel this thread is the parent: the job would end with it.
                self._stopped.wait()
        except Exception as error:  # noqa: BLE001 - pictures are held, and all else goes on
            self._say(f"no media job: {error}")
