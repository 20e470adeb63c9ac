"""Labels: what a container asks for, and what is said about every label that cannot be obeyed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sidecar.labels.policy import (
    KEYS,
    ContainerLabels,
    LabelPolicy,
    PlanLabels,
    parse,
    parse_bool,
    parse_volume,
    split_csv,
)
from sidecar.labels.retention import Keep

ON = {"backrest.enable": "true"}


def read(labels: dict[str, str], **policy: object) -> ContainerLabels:
    return parse(labels, container="web", policy=LabelPolicy(**policy))  # type: ignore[arg-type]  # test shorthand


def only(labels: dict[str, str], **policy: object) -> PlanLabels:
    parsed = read(labels, **policy)
    assert parsed.findings == ()
    (plan,) = parsed.plans
    return plan


def test_a_container_without_labels_of_ours_asks_for_nothing() -> None:
    parsed = read({"com.docker.compose.project": "demo", "restic-compose-backup.volumes": "true"})
    assert parsed == ContainerLabels()
    assert not parsed.any


def test_every_label_reaches_its_field() -> None:
    plan = only(
        {
            **ON,
            "backrest.repo": " usb ",
            "backrest.schedule": "T 3 * * *",
            "backrest.paths.include": "/data, /config",
            "backrest.paths.exclude": "/data/cache,*.tmp",
            "backrest.keep": "daily=7",
            "backrest.snapshot-start": "docker pause $SELF",
            "backrest.snapshot-end": "docker unpause $SELF,true",
            "backrest.hooks.template": "simple-stop-start",
            "backrest.hooks.on-error": "Retry-10m",
        }
    )
    assert plan.model_dump(exclude={"keep", "sources"}) == {
        "name": "",
        "repo": "usb",
        "schedule": "T 3 * * *",
        "include": ("/data", "/config"),
        "exclude": ("/data/cache", "*.tmp"),
        "start_commands": ("docker pause $SELF",),
        "end_commands": ("docker unpause $SELF", "true"),
        "template": False,
        "on_error": "retry-10m",
    }
    assert plan.keep == Keep.parse("daily=7")
    assert plan.sources["include"] == "backrest.paths.include"
    assert "template" not in plan.sources


@pytest.mark.parametrize("word", ["true", "TRUE", " t ", "1", "y", "Yes", "on\n"])
def test_enable_words(word: str) -> None:
    assert len(read({"backrest.enable": word}).plans) == 1
    assert parse_bool(word) is True


@pytest.mark.parametrize("word", ["false", "False", "0", "f", "n", "No", "off"])
def test_withdrawn_words(word: str) -> None:
    parsed = read({"backrest.enable": word, "backrest.schedule": "wrong"})
    assert (parsed.plans, parsed.withdrawn, parsed.broken) == ((), ("",), ())
    assert parsed.any


def test_a_wrong_enable_is_no_withdrawal() -> None:
    parsed = read({"backrest.enable": "ture"})
    assert (parsed.plans, parsed.withdrawn, parsed.broken) == ((), (), ("",))
    (finding,) = parsed.findings
    assert (finding.code, finding.label, finding.value, finding.hint) == (
        "wrong-label",
        "backrest.enable",
        "ture",
        "true",
    )
    assert finding.skips
    assert 'web: backrest.enable="ture"' in finding.message
    assert 'did you mean "true"?' in finding.message


def test_a_misspelt_enable_is_reported_and_ends_no_backup() -> None:
    parsed = read({"backrest.enabled": "true"})
    assert parsed.broken == ("",)
    assert parsed.findings[0].code == "unknown-label"
    assert parsed.findings[0].hint == "backrest.enable"
    assert "did you mean backrest.enable?" in parsed.findings[0].message
    beside = read({**ON, "backrest.enabled": "true"})
    assert len(beside.plans) == 1
    assert not beside.findings[0].skips


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_value_counts_as_absent(value: str) -> None:
    keys = [key.key for key in KEYS if key.key != "backrest.enable"]
    plan = only({**ON, **dict.fromkeys(keys, value)})
    assert plan == PlanLabels()
    assert read({"backrest.enable": value}) == ContainerLabels()


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("backrest.path.include", "backrest.paths.include"),
        ("backrest.paths.exlude", "backrest.paths.exclude"),
        ("backrest.kep", "backrest.keep"),
        ("backrest.hook.template", "backrest.hooks.template"),
        ("backrest.snapshot_start", "backrest.snapshot-start"),
        ("backrest.cron", ""),
        ("backrest.", ""),
        ("backrest.db.shedule", "backrest.db.schedule"),
        ("backrest.db.quiesce", "backrest.quiesce"),
        ("backrest.paths.repo", ""),
        ("backrest.-x.repo", "backrest.repo"),
        ("Backrest.Repo", "backrest.repo"),
        ("backrest-repo", "backrest.repo"),
        ("backrest.\u202eoper", ""),
        ("backrest." + "x" * 65536, ""),
        ("backrest." + "x" * 70 + ".repo", ""),
    ],
)
def test_an_unknown_key_is_reported_with_the_nearest(key: str, hint: str) -> None:
    parsed = read({**ON, key: "v"})
    assert len(parsed.plans) == 1
    (finding,) = parsed.findings
    assert (finding.code, finding.hint, finding.skips) == ("unknown-label", hint, False)
    assert finding.message.isprintable()
    assert len(finding.message) < 600


def test_other_tools_labels_are_not_ours() -> None:
    assert (
        read({"backrestic.foo": "x", "backrest-ui.theme": "dark", "x.backrest.enable": "true"}).findings == ()
    )


def test_very_many_unknown_labels_are_counted() -> None:
    parsed = read({**ON, **{f"backrest.zz{n}": "x" for n in range(500)}})
    assert len(parsed.findings) == 21
    assert "480 more" in parsed.findings[-1].message


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("backrest.repo", "a\nb", "control character"),
        ("backrest.repo", "a\0b", "control character"),
        ("backrest.repo", "a\ud800", "Unicode"),
        ("backrest.schedule", "*/0 * * * *", "step 0"),
        ("backrest.schedule", "@daily", "five"),
        ("backrest.schedule", "0 0 0 * * *", "five"),
        ("backrest.schedule", "0 0 31 2 *", "never fires"),
        ("backrest.schedule", "0 0 * * *\n", None),
        ("backrest.schedule", "0 0 *\n* *", "line break"),
        ("backrest.keep", "dayly=7", "keep spec"),
        ("backrest.keep", "daily=0", "keep nothing"),
        ("backrest.keep", "daily=\n7", "control character"),
        ("backrest.paths.include", "data", "not absolute"),
        ("backrest.paths.include", "/data/../../etc", '".." segment'),
        ("backrest.paths.include", "/data/..", '".." segment'),
        ("backrest.paths.include", "/data/..x,/y..", None),
        ("backrest.paths.include", "/a\n/b", "line break"),
        ("backrest.paths.include", "/a\0", "NUL"),
        ("backrest.paths.include", "/" + "x" * 65536, "4096 bytes"),
        ("backrest.paths.include", "/" + "ü" * 2048, "4096 bytes"),
        ("backrest.paths.include", "/\u05d0\u05d1", None),
        ("backrest.paths.include", "/$(rm -rf /);`x`", None),
        ("backrest.paths.exclude", "*.tmp,../x", '".." segment'),
        ("backrest.paths.exclude", "a\nb", "line break"),
        ("backrest.snapshot-start", "a\nb", None),
        ("backrest.snapshot-start", "a\0b", "NUL"),
        ("backrest.snapshot-end", "echo {{ .Repo.Password }}", "--hook-templates"),
        ("backrest.hooks.template", "simple-start-stop", "simple-stop-start"),
        ("backrest.hooks.template", "None", None),
        ("backrest.quiesce", "maybe", "is none of true"),
    ],
)
def test_a_wrong_value_skips_the_container(key: str, value: str, reason: str | None) -> None:
    parsed = read({**ON, key: value})
    if reason is None:
        assert parsed.findings == ()
        assert len(parsed.plans) == 1
        return
    assert (parsed.plans, parsed.broken) == ((), ("",))
    (finding,) = parsed.findings
    assert (finding.code, finding.container, finding.label, finding.skips) == (
        "wrong-label",
        "web",
        key,
        True,
    )
    assert reason in finding.message
    assert key in finding.message
    assert finding.message.isprintable()
    assert len(finding.message) < 700


def test_every_wrong_label_is_named() -> None:
    parsed = read({**ON, "backrest.keep": "x", "backrest.schedule": "x"})
    assert [f.label for f in parsed.findings] == ["backrest.keep", "backrest.schedule"]


# Commas, quotes.


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", ()),
        (" , ,, ", ()),
        ("a, b ,c", ("a", "b", "c")),
        ("echo 'a,b', c", ("echo 'a,b'", "c")),
        ('sh -c "x, y",z', ('sh -c "x, y"', "z")),
        ("""echo "it's, fine", b""", ("""echo "it's, fine\"""", "b")),
        ("echo it's, b", ("echo it's", "b")),
        (r"echo \", b", (r"echo \"", "b")),
        (r'echo "a\",b", c', (r'echo "a\",b"', "c")),
        (r"echo 'a\', b", (r"echo 'a\'", "b")),
        (r"a\,b", ("a\\", "b")),
    ],
)
def test_split_csv(text: str, items: tuple[str, ...]) -> None:
    assert split_csv(text) == items


def test_quotes_around_a_whole_path_come_off() -> None:
    plan = only({**ON, "backrest.paths.include": "'/a,b',\"/c d\"", "backrest.paths.exclude": '"*.a,b"'})
    assert plan.include == ("/a,b", "/c d")
    assert plan.exclude == ("*.a,b",)


@given(st.text(st.sampled_from("ab ,'\"\\$"), max_size=40))
def test_split_csv_loses_nothing_but_commas_and_blanks(text: str) -> None:
    items = split_csv(text)
    assert "".join("".join(items).replace(",", "").split()) == "".join(text.replace(",", "").split())
    assert all(item and item == item.strip() for item in items)
    if not set(text) & set("'\""):
        assert items == tuple(part.strip() for part in text.split(",") if part.strip())


@given(st.lists(st.text(st.sampled_from("ab ,;|&"), min_size=1, max_size=8), min_size=1, max_size=5))
def test_quoted_items_arrive_whole(words: list[str]) -> None:
    items = [f"echo '{word}'" for word in words]
    assert split_csv(", ".join(items)) == tuple(items)


def test_split_csv_is_linear() -> None:
    assert len(split_csv("'" * 65535 + ",x")) <= 2
    assert len(split_csv('\\"' * 32768)) == 1


# Image labels, hooks policy.


def test_labels_of_the_image_are_ignored_and_reported() -> None:
    labels = {**ON, "backrest.snapshot-start": "evil", "backrest.repo": "usb"}
    image = {"backrest.snapshot-start": "evil", "backrest.repo": "other"}
    parsed = parse(labels, container="web", image_labels=image)
    assert parsed.plans[0].start_commands == ()
    assert parsed.plans[0].repo == "usb"
    (finding,) = parsed.findings
    assert (finding.code, finding.label, finding.value) == ("image-label", "backrest.snapshot-start", "evil")
    trusted = parse(labels, container="web", image_labels=image, policy=LabelPolicy(trust_image=True))
    assert trusted.plans[0].start_commands == ("evil",)
    assert trusted.findings == ()


def test_an_image_cannot_enable_itself() -> None:
    parsed = parse(ON, container="web", image_labels=ON)
    assert not parsed.any
    assert [f.code for f in parsed.findings] == ["image-label"]


@pytest.mark.parametrize("template", ["simple-stop-start", "stop-start", "Quiesce-Stop-Start"])
def test_templates(template: str) -> None:
    labels = {**ON, "backrest.hooks.template": template}
    assert only(labels).template
    assert only(labels, hooks="template").template
    refused = read(labels, hooks="none")
    assert not refused.plans[0].template
    assert [(f.code, f.label, f.skips) for f in refused.findings] == [
        ("hooks-refused", "backrest.hooks.template", False)
    ]


@pytest.mark.parametrize("hooks", ["template", "none"])
def test_commands_that_the_policy_refuses_do_not_stop_the_backup(hooks: str) -> None:
    labels = {
        **ON,
        "backrest.snapshot-start": "a",
        "backrest.snapshot-end": "echo {{",
        "backrest.hooks.template": "stop-start",
    }
    parsed = read(labels, hooks=hooks)
    (plan,) = parsed.plans
    assert (plan.start_commands, plan.end_commands, plan.template) == ((), (), False)
    assert [f.label for f in parsed.findings] == ["backrest.snapshot-start", "backrest.snapshot-end"]
    assert f"--hooks {hooks}" in parsed.findings[0].message


def test_double_braces_pass_only_when_allowed() -> None:
    labels = {**ON, "backrest.snapshot-start": "docker ps --format '{{.ID}}'"}
    assert only(labels, hook_templates=True).start_commands == ("docker ps --format '{{.ID}}'",)


def test_quiesce() -> None:
    assert read({"backrest.quiesce": "yes"}).quiesce
    assert read({"backrest.quiesce": "yes"}).any
    assert not read({"backrest.quiesce": "no"}).quiesce


# Named plans.


def plans(labels: dict[str, str], **policy: object) -> dict[str, PlanLabels]:
    return {plan.name: plan for plan in read(labels, **policy).plans}


def test_a_named_plan_inherits_what_it_does_not_say() -> None:
    found = plans(
        {
            **ON,
            "backrest.repo": "usb",
            "backrest.schedule": "T 3 * * *",
            "backrest.db.schedule": "0 * * * *",
            "backrest.db.paths.include": "/db",
        }
    )
    assert set(found) == {"", "db"}
    assert (found["db"].repo, found["db"].schedule, found["db"].include) == ("usb", "0 * * * *", ("/db",))
    assert found["db"].sources == {
        "repo": "backrest.repo",
        "schedule": "backrest.db.schedule",
        "include": "backrest.db.paths.include",
    }
    assert found[""].include == ()


def test_a_named_plan_may_stand_alone_or_be_withdrawn_alone() -> None:
    alone = read({"backrest.db.enable": "true", "backrest.repo": "usb"})
    assert [(p.name, p.repo) for p in alone.plans] == [("db", "usb")]
    without = read({**ON, "backrest.db.enable": "no", "backrest.db.repo": "x"})
    assert ([p.name for p in without.plans], without.withdrawn) == ([""], ("db",))
    both = read({"backrest.enable": "no", "backrest.db.repo": "x", "backrest.web.enable": "on"})
    assert ([p.name for p in both.plans], both.withdrawn) == (["web"], ("", "db"))


def test_a_wrong_label_breaks_the_plans_that_take_it() -> None:
    parsed = read(
        {
            **ON,
            "backrest.schedule": "wrong",
            "backrest.db.schedule": "0 1 * * *",
            "backrest.web.repo": "usb",
        }
    )
    assert ([p.name for p in parsed.plans], parsed.broken) == (["db"], ("", "web"))
    named = read({**ON, "backrest.db.keep": "x"})
    assert ([p.name for p in named.plans], named.broken) == ([""], ("db",))
    enable = read({"backrest.enable": "ture", "backrest.db.repo": "x", "backrest.web.enable": "true"})
    assert ([p.name for p in enable.plans], enable.broken) == (["web"], ("", "db"))


@pytest.mark.parametrize("name", ["paths", "hooks", "enable", "keep", "snapshot-start"])
def test_first_words_of_labels_are_no_names(name: str) -> None:
    parsed = read({**ON, f"backrest.{name}.schedule": "0 1 * * *"})
    assert [p.name for p in parsed.plans] == [""]
    assert parsed.findings[0].code == "unknown-label"


def test_two_names_that_give_one_id_collide() -> None:
    parsed = read({"backrest.db-x.enable": "true", "backrest.DB_x.enable": "true"})
    assert ([p.name for p in parsed.plans], parsed.broken) == (["db-x"], ("DB_x",))
    assert parsed.findings[0].code == "plan-names-collide"


def test_the_nearer_hook_wins() -> None:
    base = {**ON, "backrest.snapshot-start": "dump", "backrest.snapshot-end": "clean"}
    own = plans({**base, "backrest.db.hooks.template": "stop-start"})["db"]
    assert (own.start_commands, own.end_commands, own.template) == ((), (), True)
    none = plans({**base, "backrest.db.hooks.template": "none"})["db"]
    assert (none.start_commands, none.template) == (("dump",), False)
    stop = {**ON, "backrest.hooks.template": "stop-start"}
    commands = plans({**stop, "backrest.db.snapshot-start": "dump"})["db"]
    assert (commands.start_commands, commands.template) == (("dump",), False)
    off = plans({**stop, "backrest.db.hooks.template": "none"})["db"]
    assert not off.template


# Volumes.


def test_volume_labels() -> None:
    parsed = parse_volume(
        {"backrest.enable": "off", "backrest.exclude": "/cache,*.tmp", "backrest.paths.exclude": "*.tmp,/x"},
        volume="data",
    )
    assert (parsed.enable, parsed.exclude, parsed.findings) == (False, ("/cache", "*.tmp", "/x"), ())
    assert parse_volume({}, volume="data").enable is None


def test_volume_findings() -> None:
    parsed = parse_volume(
        {"backrest.enable": "maybe", "backrest.schedule": "x", "backrest.exlude": "x"}, volume="data"
    )
    assert parsed.enable is None
    assert [(f.code, f.label) for f in parsed.findings] == [
        ("wrong-label", "backrest.enable"),
        ("unknown-label", "backrest.schedule"),
        ("unknown-label", "backrest.exlude"),
    ]
    assert "means nothing on a volume" in parsed.findings[1].message
    assert parsed.findings[2].hint == "backrest.exclude"
    assert all(f.message.startswith("volume data:") for f in parsed.findings)


# Anything at all.

SHORT = st.sampled_from([key.short for key in KEYS])
NAMES = st.sampled_from(["", "db.", "a-b.", "paths.", "A.", "x y.", "\u202e."])
KEY = st.one_of(
    st.tuples(NAMES, SHORT).map(lambda pair: f"backrest.{pair[0]}{pair[1]}"),
    st.text(max_size=20).map(lambda text: f"backrest.{text}"),
    st.text(max_size=20),
)
VALUE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["true", "false", "/data", "daily=7", "T 3 * * *", "stop-start", "\ud800", "x" * 65536, "{{"]
    ),
)


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(KEY, VALUE, max_size=8),
    st.sampled_from(["all", "template", "none"]),
    st.text(max_size=10),
)
def test_any_labels_are_read_or_reported(labels: dict[str, str], hooks: str, container: str) -> None:
    parsed = parse(labels, container=container, policy=LabelPolicy(hooks=hooks))  # type: ignore[arg-type]  # one of three
    names = [*(p.name for p in parsed.plans), *parsed.withdrawn, *parsed.broken]
    assert len(names) == len(set(names))
    for finding in parsed.findings:
        assert finding.message.isprintable()
        assert len(finding.message) < 1000
    assert bool(parsed.broken) <= any(finding.skips for finding in parsed.findings)
    for plan in parsed.plans:
        assert all(path.startswith("/") and "\n" not in path for path in plan.include)
        assert not (plan.template and (plan.start_commands or plan.end_commands))
        assert set(plan.sources) <= set(PlanLabels.model_fields)
        plan.model_dump_json()
    assert parse_volume(labels, volume=container).findings is not None


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError):
        ContainerLabels().quiesce = True
    with pytest.raises(ValidationError):
        PlanLabels().repo = "x"


def test_examples_of_the_table_are_right() -> None:
    for key in KEYS:
        parsed = read({**ON, key.key: key.example})
        assert parsed.findings == (), key
        assert len(parsed.plans) == 1
