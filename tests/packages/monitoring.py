"""Every metric that the dashboard and the alerts ask for is one that the gate has."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TELEMETRY = (ROOT / "src/telemetry/mod.rs").read_text()
REGISTERED = {f"ckgate_{name}" for name in re.findall(r'r\.register(?:_with_unit)?\(\s*"(\w+)"', TELEMETRY)}
KNOWN = {"ckgate_ready"} | {name + end for name in REGISTERED for end in ("", "_total", "_seconds_bucket")}

texts = [(ROOT / "config/monitoring/alerts.yaml").read_text()]
dashboard = json.loads((ROOT / "config/monitoring/dashboard.json").read_text())
assert len(dashboard["panels"]) > 10
for panel in dashboard["panels"]:
    texts += [target["expr"] for target in panel["targets"]]
asked = {name for text in texts for name in re.findall(r"\bckgate_\w+", text)}
unknown = sorted(asked - KNOWN)
sys.exit(f"no such metrics: {unknown}" if unknown or len(asked) < 15 else 0)
