"""Settings of the workshop: environment WORKSHOP_*, then `.env`, then the defaults below."""

import difflib
import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from helpers.language import N_, WorkshopError, chosen, say

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "WORKSHOP_"


class Settings(BaseSettings):
    """One field a setting; `.env.example` explains each."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    mode: Literal["replay", "server", "live"] = "replay"
    region: str = ""
    model: str = "claude-sonnet-5-5"
    geography: str = "global"
    server_url: str = "http://localhost:11434"
    server_model: str = ""
    server_key: SecretStr = SecretStr("")
    knowledge_base_id: str = ""
    store: Literal["opensearch", "s3vectors"] = "opensearch"
    id: str = Field(default="", pattern=r"^([a-z0-9]{4,12})?$")
    agree: bool = False
    letters_dir: Path = ROOT / "data" / "letters"
    recordings_dir: Path = ROOT / "data" / "recordings"
    state_file: Path = ROOT / "workshop.json"
    env_file: Path = ROOT / ".env"  # only the environment can set it


def _refuse_unknown(names: set[str]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            told = [say("There is no setting {name}.", name=name), *(say("Did you mean {name}?", name=x) for x in near)]
            whole = " ".join([*told, say(".env.example has every one that a learner needs.")])
            raise WorkshopError(whole)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once; `WorkshopError` names a wrong value or an unknown setting."""
    file = Path(os.environ.get(PREFIX + "ENV_FILE") or ROOT / ".env")
    try:
        _refuse_unknown({*os.environ, *dotenv_values(file, encoding="utf-8")})
        found = Settings(_env_file=file)  # type: ignore[call-arg]
    except UnicodeDecodeError as error:
        told = N_("{file} is not UTF-8 text ({reason} at byte {start}). Save it as UTF-8, or copy .env.example again.")
        raise WorkshopError(told, file=file, reason=error.reason, start=error.start) from error
    except ValidationError as error:
        problem = error.errors()[0]
        name = PREFIX + str(problem["loc"][0]).upper()
        told = N_("{name} is {value!r}: {problem}. Correct it in the environment or in .env.")
        raise WorkshopError(told, name=name, value=problem["input"], problem=problem["msg"]) from error
    paths = {name: ROOT / os.path.expanduser(it) for name, it in found if isinstance(it, Path)}
    if paths["letters_dir"].resolve() == (ROOT / "data" / "letters").resolve():
        paths["letters_dir"] = ROOT / "data" / "letters" / chosen()  # each edition asks its own documents
    return found.model_copy(update=paths)
