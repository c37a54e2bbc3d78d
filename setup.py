"""Builds and installs rdarts, with its configs and tools."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What mmengine and mim look for in `rdarts/.mim`, so that `rdarts::_base_/...` and the tools
# are found outside of a clone.
MIM_FILES = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Puts the configs and tools into the package: copies in a wheel, links in a clone."""

    def run(self) -> None:
        super().run()
        package = ROOT if self.editable_mode else Path(self.build_lib)
        target = package / 'rdarts' / '.mim'
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        for name in MIM_FILES:
            if not (self.editable_mode and self._link(ROOT / name, target / name)):
                self._copy(ROOT / name, target / name)

    @staticmethod
    def _link(source: Path, target: Path) -> bool:
        try:
            # Relative, so that a clone can be moved
            target.symlink_to(os.path.relpath(source, target.parent), source.is_dir())
        except OSError:  # Windows without the privilege to make links
            return False
        return True

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
        else:
            shutil.copy2(source, target)


def read_version() -> str:
    text = (ROOT / 'rdarts' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)[1]


def read_requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    lines = [line.partition('#')[0].strip() for line in lines]
    return [line for line in lines if line]


setup(
    name='rdarts',
    version=read_version(),
    description='Differentiable architecture search with r-DARTS, on the OpenMMLab framework',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The rdarts authors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords=['neural architecture search', 'differentiable architecture search', 'OpenMMLab'],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 14)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    python_requires='>=3.10,<3.14',
    packages=find_packages(include=['rdarts', 'rdarts.*']),
    package_data={
        'rdarts': ['**/*.json', '**/*.cpp', '**/*.h', '**/*.html', '**/*.css', '**/*.js']
    },
    entry_points={'console_scripts': ['rdarts = rdarts.console.main:main']},
    install_requires=read_requirements('runtime'),
    extras_require={
        name: read_requirements(name)
        for name in ('tests', 'optional', 'detection', 'cluster', 'docs')
    },
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
