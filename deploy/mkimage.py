#!/usr/bin/env python3
"""Build a container image from files, with no container engine and no registry.

The archive is at the same time an OCI image layout and a `docker save` archive, so that
`ctr images import`, `docker load` and `skopeo copy docker-archive:` read it. Equal input gives equal bytes, layer by
layer: images that share their first layers share them on a node, too. Python 3.8, standard library only.

What goes into the image is said in order. `--layer` starts a new layer for all that follows:

  mkimage.py -t dev.local/app:1 -o app.tar --add target/release/app:/app --entrypoint /app --user 65532:65532
  mkimage.py -t dev.local/shop:1 -o shop.tar --base-files --add /usr/bin/node:/usr/bin/node --libs-of /usr/bin/node \\
             --layer --add products.json:/app/products.json  --layer --add orders.js:/app/orders.js --cmd node orders.js
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile

# Directories that are made because something is put into them get these modes, in whichever layer that happens:
# a later layer's entry replaces an earlier one's.
DIRECTORY_MODES = {"tmp": 0o1777, "root": 0o700}
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nnonroot:x:65532:65532:nonroot:/:/bin/false\n"
GROUP = b"root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n"
CA_CERTS = "/etc/ssl/certs/ca-certificates.crt"


class Layer:
    """The files of one layer, and how each option puts some there."""

    def __init__(self):
        self.entries = {}  # path without its first slash -> (TarInfo, content)

    def put(self, path, kind, mode, content=b"", target=""):
        path = path.strip("/")
        if not path:
            return  # the root itself
        parent = os.path.dirname(path)
        if parent not in self.entries:
            self.put(parent, tarfile.DIRTYPE, DIRECTORY_MODES.get(parent, 0o755))
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(content), target
        self.entries[path] = (entry, content)

    def file(self, source, path, mode=None):
        with open(source, "rb") as f:
            content = f.read()
        # Not the modes on disk: they depend on the umask of whoever checked the file out.
        self.put(path, tarfile.REGTYPE, mode or (0o755 if os.stat(source).st_mode & 0o100 else 0o644), content)

    def add(self, spec):
        source, path, *mode = spec.split(":")
        if not os.path.isdir(source):
            return self.file(source, path, int(mode[0], 8) if mode else None)
        for root, _, names in os.walk(source):
            inside = os.path.normpath(os.path.join(path, os.path.relpath(root, source)))
            self.dir(inside)
            for name in names:
                at = os.path.join(root, name)
                if os.path.islink(at):
                    self.link(f"{inside}/{name}={os.readlink(at)}")
                else:
                    self.file(at, f"{inside}/{name}")

    def libs_of(self, program):
        listed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        if "not found" in listed:
            sys.exit(f"mkimage.py: libraries of {program} are missing:\n{listed}")
        for library in re.findall(r"(/[^\s()]+) \(0x", listed):
            self.file(library, library, 0o755)

    def link(self, spec):
        path, _, target = spec.partition("=")
        self.put(path, tarfile.SYMTYPE, 0o777, target=target)

    def dir(self, spec):
        path, _, mode = spec.partition(":")
        self.put(path, tarfile.DIRTYPE, int(mode, 8) if mode else DIRECTORY_MODES.get(path.strip("/"), 0o755))

    def busybox_links(self, program):
        for applet in subprocess.check_output([program, "--list"], text=True).split():
            if "bin/" + applet not in self.entries:
                self.link(f"/bin/{applet}=busybox")

    def base_files(self, _):
        self.put("etc/passwd", tarfile.REGTYPE, 0o644, PASSWD)
        self.put("etc/group", tarfile.REGTYPE, 0o644, GROUP)
        self.put("etc/nsswitch.conf", tarfile.REGTYPE, 0o644, b"hosts: files dns\n")
        for path in ("tmp", "root", "var/run"):
            self.dir(path)

    def ca_certs(self, _):
        self.file(CA_CERTS, CA_CERTS, 0o644)

    def tar(self):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path in sorted(self.entries):  # TarInfo's owner is root and its time 1970
                entry, content = self.entries[path]
                tar.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()


class InLayer(argparse.Action):
    """An option whose place matters: it acts on the layer that the last --layer started."""

    def __call__(self, _parser, settings, value, _name=None):
        settings.layers[-1].append((self.dest, value))


class NextLayer(argparse.Action):
    def __call__(self, _parser, settings, _value, _name=None):
        settings.layers.append([])


def parse():
    p = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    p.set_defaults(layers=[[]])
    p.add_argument("-t", "--tag", required=True, help="the image's full name, such as dev.local/app:1")
    p.add_argument("-o", "--output", required=True, help="the archive to write")
    files = p.add_argument_group("files, in order")
    files.add_argument("--layer", action=NextLayer, nargs=0, help="start the next layer")
    files.add_argument("--add", action=InLayer, metavar="SOURCE:PATH[:MODE]", help="a file or a directory")
    files.add_argument("--libs-of", action=InLayer, metavar="PROGRAM", help="the loader and shared libraries that ldd lists")
    files.add_argument("--link", action=InLayer, metavar="PATH=TARGET", help="a symbolic link")
    files.add_argument("--dir", action=InLayer, metavar="PATH[:MODE]", help="a directory")
    files.add_argument("--busybox-links", action=InLayer, metavar="BUSYBOX", help="/bin/APPLET for each of its applets")
    files.add_argument("--base-files", action=InLayer, nargs=0, help="/etc/{passwd,group,nsswitch.conf}, /tmp, /root, /var/run")
    files.add_argument("--ca-certs", action=InLayer, nargs=0, help="this machine's " + CA_CERTS)
    config = p.add_argument_group("configuration")
    config.add_argument("--entrypoint", nargs="+")
    config.add_argument("--cmd", nargs="+")
    config.add_argument("--env", action="append", metavar="NAME=VALUE")
    config.add_argument("--user", default="", metavar="UID:GID")
    config.add_argument("--workdir", default="/")
    return p.parse_args()


def image(settings):
    """Returns the archive's members: name -> content."""
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(content, kind):
        digest = hashlib.sha256(content).hexdigest()
        members["blobs/sha256/" + digest] = content
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + digest, "size": len(content)}

    layers, diff_ids = [], []
    for options in settings.layers:
        layer = Layer()
        for name, value in options:
            getattr(layer, name)(value)
        tar = layer.tar()
        diff_ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
        # The fastest level: these archives are read where they are written.
        layers.append(blob(gzip.compress(tar, compresslevel=1, mtime=0), "layer.v1.tar+gzip"))

    run = {"Entrypoint": settings.entrypoint, "Cmd": settings.cmd, "User": settings.user, "WorkingDir": settings.workdir,
           "Env": settings.env or ["PATH=/usr/local/bin:/usr/bin:/bin"]}
    machine = {"os": "linux", "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())}
    config = blob(to_json({**machine, "created": "1970-01-01T00:00:00Z", "config": {k: v for k, v in run.items() if v},
                           "rootfs": {"type": "layers", "diff_ids": diff_ids},
                           "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "mkimage.py"} for _ in layers]}), "config.v1+json")
    manifest = blob(to_json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                             "config": config, "layers": layers}), "manifest.v1+json")
    annotations = {"io.containerd.image.name": settings.tag, "org.opencontainers.image.ref.name": settings.tag.rpartition(":")[2]}
    members["index.json"] = to_json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                                     "manifests": [{**manifest, "platform": machine, "annotations": annotations}]})
    member = lambda blob: "blobs/" + blob["digest"].replace(":", "/")
    members["manifest.json"] = to_json([{"Config": member(config), "RepoTags": [settings.tag], "Layers": [member(l) for l in layers]}])
    return members


def to_json(value):
    return json.dumps(value, sort_keys=True).encode()


def main():
    settings = parse()
    if ":" not in settings.tag.rpartition("/")[2]:
        sys.exit(f"mkimage.py: {settings.tag} has no tag: write {settings.tag}:1 or the like")
    try:
        members = image(settings)
    except OSError as error:
        sys.exit(f"mkimage.py: {error}")
    unfinished = settings.output + ".part"
    with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(members, key=lambda name: (name.startswith("blobs/"), name)):
            entry = tarfile.TarInfo(name)
            entry.size = len(members[name])
            tar.addfile(entry, io.BytesIO(members[name]))
    os.replace(unfinished, settings.output)
    print(f"{settings.output}: {settings.tag}, {len(settings.layers)} layers, {sum(map(len, members.values())) / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
