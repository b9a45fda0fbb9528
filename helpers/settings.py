"""Settings of the workshop: environment WORKSHOP_*, then `.env`, then the defaults below."""

import difflib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from helpers.errors import WorkshopError

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "WORKSHOP_"


class Settings(BaseSettings):
    """One field a setting; `.env.example` explains each."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ROOT / ".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    mode: Literal["replay", "live", "record"] = "replay"
    language: Literal["en", "zh"] = "en"
    region: str = ""
    model: str = "claude-sonnet-5-5"
    geography: str = "global"
    knowledge_base_id: str = ""
    store: Literal["opensearch", "s3vectors"] = "opensearch"
    id: str = Field(default="", pattern=r"^([a-z0-9]{4,12})?$")
    agree: bool = False
    letters_dir: Path = ROOT / "data" / "letters"
    recordings_dir: Path = ROOT / "data" / "recordings"
    state_file: Path = ROOT / "workshop.json"


def _unknown_names() -> list[str]:
    given = {*os.environ, *dotenv_values(ROOT / ".env")}
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in given if name.upper().startswith(PREFIX) and name.upper() not in known)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once; `WorkshopError` names a wrong value or an unknown setting."""
    for name in _unknown_names():
        near = difflib.get_close_matches(
            name, [PREFIX + field.upper() for field in Settings.model_fields], n=1
        )
        hint = f" Did you mean {near[0]}?" if near else ""
        raise WorkshopError(f"There is no setting {name}.{hint} All settings are in .env.example.")
    try:
        found = Settings()
    except ValidationError as error:
        problem = error.errors()[0]
        name = PREFIX + str(problem["loc"][0]).upper()
        raise WorkshopError(
            f"{name} is {problem['input']!r}: {problem['msg']}. Correct it in the environment or in .env."
        ) from error
    relative = {name: ROOT / value for name, value in found if isinstance(value, Path)}
    return found.model_copy(update=relative)


_in_replay: dict[str, Any] = {}


def read_state() -> dict[str, Any]:
    """Ids and names of what the workshop made in the account (workshop.json); empty without that file."""
    if settings().mode == "replay":
        return dict(_in_replay)
    path = settings().state_file
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise WorkshopError(
            f"{path} is not valid JSON ({error}). Move it away and set WORKSHOP_KNOWLEDGE_BASE_ID in .env."
        ) from error
    return state


def write_state(state: dict[str, Any]) -> None:
    """Put `state` into workshop.json, whole or not at all; an empty one removes the file.

    Replay keeps it in memory: recorded names must not look like things in somebody's account.
    """
    if settings().mode == "replay":
        _in_replay.clear()
        _in_replay.update(state)
        return
    path = settings().state_file
    if not state:
        path.unlink(missing_ok=True)
        return
    beside = path.with_suffix(f".{os.getpid()}.part")
    beside.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, path)
