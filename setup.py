"""What is installed: the package `nextframe`, with the three folders below it."""

from setuptools import find_packages, setup

FOLDERS = ("bench", "models", "datasets")
inside = find_packages(include=[pattern for name in FOLDERS for pattern in (name, f"{name}.*")])
setup(
    packages=["nextframe", *(f"nextframe.{name}" for name in inside)],
    package_dir={f"nextframe.{name}": name for name in FOLDERS},
)
