"""The same job for KubeRay and Slurm: what Kubernetes would refuse, what bash would, and what the job finds there."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image
from typer.testing import CliRunner, Result

from cluster.cli.app import app
from cluster.jobs.kuberay import KubeRay, kuberay
from cluster.jobs.machines import Machines
from cluster.jobs.submit import Options, prepare
from rl.config import build_config
from rl.errors import ConfigError
from tests.cluster.recipe import write_recipe

SCHEMA = json.loads((Path(__file__).parents[1] / "golden" / "rayjob_schema.json").read_text("utf-8"))
ON_NODES = Options()


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["manifest", *args])


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path, policy="/models/mmada")


def test_a_rayjob_fits_the_schema_and_carries_its_files(recipe: Path) -> None:
    settings = "policy.device=cuda cluster.learner_ranks=4 cluster.rollout_workers=12 learner.engine=deepspeed".split()
    machine = "--image registry/unigrpo:1 --claim disk:/data --secret tokens".split()
    done = run("kuberay", *machine, "--recipe", str(recipe), *settings, "name=My run/1")
    assert done.exit_code == 0, done.stderr
    files, job = yaml.safe_load_all(done.stdout)
    jsonschema.Draft7Validator(SCHEMA).validate(job)
    assert job["metadata"]["name"] == "my-run-1"
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    worker = cluster["workerGroupSpecs"][0]
    assert worker["replicas"] == worker["minReplicas"] == worker["maxReplicas"] == 2  # 16 GPUs, 8 a node
    container = worker["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert container["envFrom"] == [{"secretRef": {"name": "tokens"}}]
    places = {item["key"]: item["path"] for item in worker["template"]["spec"]["volumes"][0]["configMap"]["items"]}
    content = {places[key]: base64.b64decode(data) for key, data in files["binaryData"].items()}
    config = build_config([("job", OmegaConf.create(content["job.yaml"].decode()))])  # pyright: ignore[reportArgumentType]
    assert config.output_dir == "/data/runs" and config.cluster.address == "auto"
    assert content[str(config.custom_reward_function.path)] == (recipe.parent / "my_reward.py").read_bytes()
    assert config.policy.path == "/models/mmada"


@pytest.mark.parametrize("field", ["entryPoint", "replicas", "rayClusterSpecs"])
def test_the_schema_refuses_what_kubernetes_would(recipe: Path, field: str) -> None:
    shipment = prepare(str(recipe), [], ON_NODES)
    _, job = yaml.safe_load_all(kuberay(shipment, "train", KubeRay("image", "disk:/data"), Machines()))
    job["spec"][field] = "x"
    with pytest.raises(jsonschema.ValidationError, match=field):
        jsonschema.Draft7Validator(SCHEMA).validate(job)


def test_what_fits_into_no_config_map_is_refused(recipe: Path) -> None:
    (recipe.parent / "train.jsonl").write_text(json.dumps({"prompt": "x" * 800_000, "answer": "1"}) + "\n")
    done = run("kuberay", "--image", "image", "--claim", "disk:/data", "--recipe", str(recipe))
    assert done.exit_code == 2 and "train.jsonl and what goes with it take" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    shipment = prepare(str(recipe), [], ON_NODES)
    with pytest.raises(ConfigError, match="--claim disk: expected NAME:/path"):
        kuberay(shipment, "train", KubeRay("image", "disk"), Machines())


def test_a_batch_script_is_bash_and_holds_the_config(recipe: Path, tmp_path: Path) -> None:
    done = run("slurm", "--recipe", str(recipe), "--gpus-per-node", "4", "policy.device=cuda", "name='a b'")
    assert done.exit_code == 0, done.stderr
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)
    assert "#SBATCH --nodes=1\n" in done.stdout and "#SBATCH --gpus-per-node=4\n" in done.stdout
    start = done.stdout.index("cat > ")
    upto = done.stdout.index("\nnodes=(")
    subprocess.run(["bash", "-c", f'job="$1"; {done.stdout[start:upto]}', "x", str(tmp_path)], check=True)
    written = build_config([("job", OmegaConf.load(tmp_path / "job.yaml"))])  # pyright: ignore[reportArgumentType]
    assert written.data.train[0].source == str(tmp_path / "train.jsonl")  # the nodes see this disk
    assert written.name == "a b"


def test_a_batch_script_holds_any_config(recipe: Path, tmp_path: Path) -> None:
    """Also one that names the script's own places and its marks."""
    name = "tracking.experiment='__MARK__ END_OF_CONFIG END_OF_CONFIG_ $(id) `id` __PORT__'"
    done = run("slurm", "--recipe", str(recipe), name)
    assert done.exit_code == 0, done.stderr
    start, upto = done.stdout.index("cat > "), done.stdout.index("\nnodes=(")
    subprocess.run(["bash", "-c", f'job="$1"; {done.stdout[start:upto]}', "x", str(tmp_path)], check=True)
    written = build_config([("job", OmegaConf.load(tmp_path / "job.yaml"))])  # pyright: ignore[reportArgumentType]
    assert written.tracking.experiment == "__MARK__ END_OF_CONFIG END_OF_CONFIG_ $(id) `id` __PORT__"


def test_a_config_map_has_all_that_a_job_reads(recipe: Path) -> None:
    """Images by the names that the rows in it have, and modules beside the reward."""
    folder = recipe.parent
    (folder / "far").mkdir()
    Image.new("RGB", (2, 2)).save(folder / "far" / "1.png")
    (folder / "my_reward.py").write_text("import helper\ndef reward(prompts, completions): return [0.5]\n")
    (folder / "helper.py").write_text("")
    row = {"prompt": "?", "answer": "1", "image": {"path": str(folder / "far/1.png")}}
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    done = run("kuberay", "--image", "image", "--claim", "disk:/data", "--recipe", str(recipe))
    assert done.exit_code == 0, done.stderr
    files, job = yaml.safe_load_all(done.stdout)
    items = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"][0]["configMap"]["items"]
    content = {item["path"]: base64.b64decode(files["binaryData"][item["key"]]) for item in items}
    place = f"files{folder}"
    assert (
        content[f"{place}/helper.py"] == b""
        and content[f"{place}/far/1.png"] == (folder / "far" / "1.png").read_bytes()
    )
    assert json.loads(content[f"{place}/train.jsonl"])["image"] == {"path": "far/1.png"}
