"""The root of all tasks: it wires the collections of tasks/ together, where invoke.yaml can be read."""

from pathlib import Path

from invoke import Collection

# This file and the folder share a name, and Invoke loads the file first, which hides the folder: lend it the
# folder, so that `tasks.settings` means tasks/settings.py.
__path__ = [str(Path(__file__).with_suffix(""))]

from tasks import (
    build,
    check,
    cli,
    decrypt,
    deploy,
    doctor,
    ember,
    images,
    pipeline,
    plan,
    push,
    rehearse,
    release,
    render,
    sandbox,
    secrets,
    settings,
    test,
    upload,
)

cli.refuse_unreadable_settings()

namespace = Collection(
    build.build,
    check.check,
    decrypt.decrypt,
    doctor.doctor,
    ember.ember,
    deploy.deploy,
    Collection.from_module(images),
    Collection.from_module(pipeline),
    plan.plan,
    push.push,
    rehearse.rehearse,
    Collection.from_module(release),
    render.render,
    sandbox.sandbox,
    secrets.secrets,
    settings.settings,
    test.test,
    upload.upload,
)
