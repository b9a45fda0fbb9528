"""Settings of the workshop: environment WORKSHOP_*, then `.env`, then the defaults below."""

import difflib
import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

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
    cache_dir: Path = ROOT / "build" / "cache"
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
