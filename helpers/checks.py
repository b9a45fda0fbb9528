"""Can this learner go on? One row a question, each either ok or with what to do next."""

import re
from collections.abc import Callable
from importlib.metadata import distributions
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from helpers import clients, models, retrieval
from helpers.explain import explain
from helpers.language import N_, WorkshopError, say
from helpers.replay.index import open_index
from helpers.settings import ROOT, settings


class Row(NamedTuple):
    """One line of the page: what was looked at (a key), what was found, and what to do (empty: nothing)."""

    name: str
    found: str
    to_do: str = ""


def offline() -> list[Row]:
    """What every learner needs, account or not."""
    what = {"replay": say("recorded answers, no account, no cost"), "live": say("your account, costs money")}
    what["server"] = say("a server of your choice answers in place of Claude")
    return [
        Row("Python", say("3.11 or newer")),  # no older one gets as far as this: `make setup` and the imports refuse it
        Row(N_("packages"), *_packages()),
        Row(N_("documents"), *_documents()),
        Row(N_("mode"), say("{what}: {found}", what=settings().mode, found=what[settings().mode])),
    ]


def live() -> list[Row]:
    """What a call to AWS needs, in the order in which it fails; without credentials the rest is not asked.

    In mode server: what the lessons need of the server. In replay nothing is asked.
    """
    checks: dict[str, Callable[[], tuple[str, str]]] = {}
    if settings().mode == "server":
        from helpers.server.checks import CHECKS

        checks |= CHECKS
    elif settings().mode == "live":
        checks = {N_("region"): lambda: (clients.region(), ""), N_("identity"): _identity, N_("Anthropic form"): _form}
        checks |= {N_("model"): lambda: (str(models.resolve()), ""), N_("model access"): _access}
        checks[N_("knowledge base")] = _knowledge_base
    rows: list[Row] = []
    for name, check in checks.items():
        try:
            rows.append(Row(name, *check()))
        except Exception as error:
            told = explain(error)
            if not told and not isinstance(error, BotoCoreError | ClientError | WorkshopError | ValueError):
                raise
            rows.append(Row(name, say("not ok"), str(told or error).replace("\n", " ")))
            if name in ("region", "identity", "answer"):
                break
    return rows


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    ok = say("ok")
    lines = [f"| {say(row.name)} | {row.found} | {row.to_do or ok} |" for row in rows]
    return "\n".join([say("| | found | ok, or what to do |"), "|---|---|---|", *lines])


def _packages() -> tuple[str, str]:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", lock, re.MULTILINE))
    asked = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    direct = re.findall(r"^([a-z0-9-]+)==", asked, re.MULTILINE)
    wrong = []
    for name in direct:
        installed = next((each.version for each in distributions(name=name)), say("missing"))
        if installed != locked[name]:
            names = {"package": name, "installed": installed, "locked": locked[name]}
            wrong.append(say("{package} {installed} (lock: {locked})", **names))
    if wrong:
        return "; ".join(wrong), say("`make setup`, then choose the kernel of .venv")
    return say("{count} as in requirements.lock", count=len(direct)), ""


def _documents() -> tuple[str, str]:
    try:
        index = open_index(settings().letters_dir)
    except WorkshopError as error:
        return say("no PDF"), str(error)
    skipped = index.skipped.items()
    left_out = "; ".join(say("{name} is left out: {reason}", name=name, reason=reason) for name, reason in skipped)
    return say("{count} PDFs to ask", count=len(index.files) - len(skipped)), left_out


def _identity() -> tuple[str, str]:
    account = clients.client("sts").get_caller_identity()["Account"]
    return say("account ending in {digits}", digits=account[-4:]), ""


def _form() -> tuple[str, str]:
    try:
        clients.client("bedrock").get_use_case_for_model_access()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        to_do = say("Bedrock console, Model catalog, any Claude model: *Submit use case details*, then wait")
        return say("not submitted"), to_do
    return say("submitted"), ""


def _access() -> tuple[str, str]:
    bare = "anthropic." + models.resolve().id.rpartition("anthropic.")[2]
    state = clients.client("bedrock").get_foundation_model_availability(modelId=bare)
    agreement = state["agreementAvailability"]["status"]
    conditions = {
        N_("agreement"): agreement in ("AVAILABLE", "NOT_AVAILABLE"),
        N_("authorization"): state["authorizationStatus"] == "AUTHORIZED",
        N_("entitlement"): state["entitlementAvailability"] == "AVAILABLE",
        "region": state["regionAvailability"] == "AVAILABLE",
    }
    if missing := ", ".join(say(name) for name, is_met in conditions.items() if not is_met):
        return say("no: {missing}", missing=missing), say("attach data/policies/learner.json, or ask your admin")
    # Before the first call of a model in an account there may be none; the call itself accepts it.
    return say("granted") if agreement == "AVAILABLE" else say("granted; the first call accepts the agreement"), ""


def _knowledge_base() -> tuple[str, str]:
    found = clients.client("bedrock-agent").get_knowledge_base(knowledgeBaseId=retrieval.knowledge_base_id())
    name, state = found["knowledgeBase"]["name"], found["knowledgeBase"]["status"]
    return say("{what}: {found}", what=name, found=state.lower()), "" if state == "ACTIVE" else say(
        "wait, or look at it in the Bedrock console"
    )
