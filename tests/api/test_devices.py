"""Devices by name on a real engine: CDI descriptions that a vendor might have written."""

import json

from calls import Api, load_image

SPEC = """\
cdiVersion: "0.6.0"
kind: vendor.example/gpu
containerEdits:
  env: [VENDOR=1]
devices:
  - name: "0"
    containerEdits:
      env: [GPU=zero]
      deviceNodes:
        - {path: /dev/gpu0, hostPath: /dev/full, permissions: r}
      mounts:
        - {hostPath: @DIR@/lib, containerPath: /usr/lib/vendor, options: [ro, bind]}
"""
HOOKED = """\
cdiVersion: "0.6.0"
kind: vendor.example/tool
devices:
  - name: hooked
    containerEdits:
      env: [VENDOR=1]
      hooks:
        - {hookName: createContainer, path: /bin/sh, args: [sh, -c, "cat >@DIR@/state"]}
"""


def test_devices_of_a_cdi_description(new_engine, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/driver").write_text("driver\n")
    (tmp_path / "tool.yml").write_text(HOOKED.replace("@DIR@", str(tmp_path)))
    (tmp_path / "vendor.yaml").write_text(SPEC.replace("@DIR@", str(tmp_path)))
    api = Api(new_engine({"cdi-spec-dirs": [str(tmp_path)]}))
    load_image(api.engine)
    look = "echo $VENDOR $GPU; cat /usr/lib/vendor/driver; ls /dev/gpu0; touch /usr/lib/vendor/x"
    for request in (
        {"Driver": "cdi", "DeviceIDs": ["vendor.example/gpu=0"]},
        {"Driver": "", "Count": -1, "Capabilities": [["gpu"]]},
    ):
        code, out, err = api.output("sh", "-c", look, host={"DeviceRequests": [request]})
        assert (code, out.split()) == (1, ["1", "zero", "driver", "/dev/gpu0"])
        assert "Read-only file system" in err
    for arguments in (("--gpus", "all"), ("--device", "vendor.example/gpu=0")):
        done = api.engine.run("docker", "run", "--rm", *arguments, "engine-test", "sh", "-c", "echo $GPU")
        assert done.stdout == "zero\n"
    assert not (tmp_path / "state").exists()
    hooked = {"Driver": "cdi", "DeviceIDs": ["vendor.example/tool=hooked"]}
    code, out, _ = api.output("sh", "-c", "echo $VENDOR", host={"DeviceRequests": [hooked]})
    assert (code, out) == (0, "1\n")
    assert json.loads((tmp_path / "state").read_text())["status"] in ("creating", "created")
    gone = api.create("true", host={"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["a.b/c=d"]}]})
    answer = api.call("POST", f"/containers/{gone}/start", status=400)
    assert answer["message"] == "CDI device injection failed: unresolvable CDI devices a.b/c=d"
