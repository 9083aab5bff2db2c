"""`openrun volume list | prune`: whose volumes are, and that only those of apps that are no more go."""
# SPDX-License-Identifier: Apache-2.0
import csv
import io
import json

import pytest

import engines
from sources import IMAGE_APP, tool_app

@pytest.fixture
def fake_box(new_server, fake):
    fake.faults()
    return new_server({"system": {"container_command": fake.command}}, env=fake.env).start()


def create(box, path):
    box.cli("app", "create", *IMAGE_APP, "--cvol", "data:/data", "--cvol", "/cache", "-", path)
    assert box.get(path + "/json").status_code == 200


def listed(box):
    return json.loads(box.cli("volume", "list", "--format", "json"))


def pruned(box, *args):
    return json.loads(box.cli("volume", "prune", "--format", "json", *args))


def test_only_volumes_of_deleted_apps_go(fake_box, fake):
    box = fake_box
    create(box, "/a")
    create(box, "/b")
    mine = [v for v in listed(box) if v["app_path"] == "/a" and v["env"] == "prod"]
    assert sorted(v["volume"] for v in mine) == ["/cache", "data"]
    assert all(v["in_use"] and v["app_exists"] and v["name"].startswith(f"clv-{v['app_id']}-") and v["created_at"] for v in mine)
    # What others have made with our kind of name, or our label, is not ours.
    for name, labels in (("clv-app_prd_gone-1", None),
                         ("clv-app_prd_gone-2", {"dev.openrun.server.home": "/another", "dev.openrun.app.id": "app_prd_gone"}),
                         ("postgres", {"dev.openrun.server.home": str(box.home), "dev.openrun.app.id": "app_prd_gone"})):
        fake.by_hand("volume_create", {"Name": name, "Labels": labels})
    before = {v["name"] for v in listed(box)}
    assert not {"clv-app_prd_gone-1", "clv-app_prd_gone-2", "postgres"} & before
    assert pruned(box) == [] and box.cli("volume", "prune") == "Removed 0 volumes\n"

    box.cli("app", "delete", "/a")
    gone = {v["name"] for v in listed(box) if not v["app_exists"]}
    assert {v["name"] for v in mine} <= gone and all(v["app_path"] == "/a" for v in listed(box) if v["name"] in gone)
    # A dry run says what goes, and nothing goes.
    assert {v["name"] for v in pruned(box, "--dry-run")} == gone
    text = box.cli("volume", "prune", "--dry-run")
    assert text.endswith(f"Would remove {len(gone)} volumes\n") and all(name in text for name in gone), text
    assert {v["name"] for v in listed(box)} == before
    # One that a container uses stays, with the reason.
    used = mine[0]["name"]
    fake.by_hand("create", {"Image": "openrun-test/webapp:latest", "HostConfig": {
        "Mounts": [{"Type": "volume", "Source": used, "Target": "/x"}]}}, name="by-hand")
    text = box.cli("volume", "prune")
    assert f"{used} stays: a container uses it\n" in text and text.endswith(f"Removed {len(gone) - 1} volume{'s' * (len(gone) > 2)}\n"), text
    fake.by_hand("remove", "by-hand", force="true")
    assert [v["name"] for v in pruned(box)] == [used]
    assert {v["name"] for v in listed(box)} == before - gone and all(v["app_path"] == "/b" for v in listed(box))
    assert {"clv-app_prd_gone-1", "clv-app_prd_gone-2", "postgres"} < set(fake.state()["volumes"])
    assert box.get("/b/json").status_code == 200


def test_formats_and_refusals(fake_box, fake):
    box = fake_box
    assert listed(box) == [] and box.cli("volume", "list", "--format", "jsonl") == ""
    create(box, "/a")
    row = next(v for v in listed(box) if v["volume"] == "data" and v["env"] == "prod")
    assert [row["name"], "data", row["app_id"], "/a", "true", "prod", "true", row["created_at"]] in list(
        csv.reader(io.StringIO(box.cli("volume", "list", "--format", "csv"))))
    assert row["name"] in box.cli("volume", "list") and row["name"] in box.cli("volume", "list", "--format", "basic")
    assert "takes no arguments" in box.fails("volume", "list", "x") and "takes no arguments" in box.fails("volume", "prune", "x")
    fake.faults({"call": "volume_list", "status": 500, "message": "told to fail"})
    assert "told to fail" in box.fails("volume", "list") and "told to fail" in box.fails("volume", "prune")
    # What the engine refuses to remove is told.
    fake.faults({"call": "volume_remove", "status": 500, "message": "told to fail"})
    box.cli("app", "delete", "/a")
    problems = pruned(box)
    assert problems and all("told to fail" in v["problem"] for v in problems)
    assert {v["name"] for v in problems} <= {v["name"] for v in listed(box)}


def test_real_engine(box, engine, folder):
    """Of a command's container, which nothing holds afterwards."""
    engines.ensure(engine, "alpine")
    box.cli("app", "create", "--approve", str(folder(tool_app('["data:/data", "/cache"]'))), "/tool")
    r = box.get("/tool/run", params={"sh": "echo kept > /data/file; cat /data/file"})
    assert r.json()["value"] == ["kept"], r.text
    mine = {v["name"]: v for v in listed(box)}
    try:
        assert sorted(v["volume"] for v in mine.values()) == ["/cache", "data"]
        assert all(v["app_exists"] and v["app_path"] == "/tool" and v["env"] == "prod" and not v["in_use"] and v["created_at"]
                   for v in mine.values())
        assert pruned(box) == []
        box.cli("app", "delete", "/tool")
        by_hand = engine.run("create", "--volume", f"{min(mine)}:/x", "alpine", "true")
        try:
            assert {v["name"]: v["in_use"] for v in listed(box)} == {n: n == min(mine) for n in mine}
            assert {v["name"]: v["problem"] for v in pruned(box)} == {n: "a container uses it" if n == min(mine) else "" for n in mine}
        finally:
            engine.run("rm", "--force", by_hand)
        assert [v["name"] for v in pruned(box)] == [min(mine)] and listed(box) == []
        assert not set(mine) & set(engine.run("volume", "ls", "--quiet").split())
    finally:
        engine.run("volume", "rm", *mine, check=False)
