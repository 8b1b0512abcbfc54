# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Serves the code that a sweep was started with, under its own paths, to every Python process of a run.

``SWEEPLINE_CODE`` names the manifest: the files as they were, and where their content is kept. A file that is still as
it was is read from its own place, with its compiled form, as if nothing were here; one that was edited, removed or
replaced is read from where it is kept. ``__file__`` and tracebacks name the own place either way. Runs under the user's
own interpreter: Python 3.8 and later, nothing but the standard library, and as little of it as possible, because every
process of every run waits for it.
"""

import os
import sys


class Served:
    """The files of a manifest by their resolved paths, and whether each is still as it was."""

    def __init__(self, manifest):
        self.kept_in = os.path.join(os.path.dirname(manifest), "files")
        self.files = {}  # by path: the name of the content, and how the file looked, as text until it is asked for
        self.names = set()  # of modules, and of folders that hold some
        self.last_names = set()  # of files
        self.folders = set()
        self._resolved = {}
        with open(manifest, "rb") as file:
            text = file.read()
        for entry in text.split(b"\0\n"):
            if entry:
                key, stamp, path = entry.split(b"\t", 2)
                self._add(os.fsdecode(path), key, stamp)

    def _add(self, path, key, stamp):
        self.files[path] = (key, stamp)
        folder, _, name = path.rpartition("/")
        self.names.add(name[:-3])
        self.last_names.add(name)
        while folder and folder not in self.folders:
            self.folders.add(folder)
            folder, _, name = folder.rpartition("/")
            self.names.add(name)

    def find(self, path):
        """Return the resolved path of a file of the manifest; None for any other.

        Asked several times for every module that is imported, and nearly always by a path that needs no resolving.
        """
        if path in self.files:
            return path
        if path[-4:] == ".pyc" or (path[path.rfind("/") + 1 :] not in self.last_names and not os.path.islink(path)):
            return None
        found = self._resolved.get(path)
        if found is None:
            found = self._resolved[path] = os.path.realpath(path)
        return found if found in self.files else None

    def resolve(self, folder):
        """Return the resolved path of an absolute folder in which modules are looked for."""
        found = self._resolved.get(folder)
        if found is None:
            found = self._resolved[folder] = os.path.realpath(folder)
        return found

    def is_as_it_was(self, path):
        """Whether the file in its own place is the one that was kept."""
        try:
            seen = os.stat(path)
        except OSError:
            return False
        key, stamp = self.files[path]
        if isinstance(stamp, bytes):
            stamp = tuple(map(int, stamp.split(b",")))
            self.files[path] = (key, stamp)
        return (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns) == stamp

    def kept(self, path):
        """Return where the content of a file is kept."""
        return os.path.join(self.kept_in, self.files[path][0].decode())

    def read(self, path):
        """Return the content of a file as it was."""
        with open(self.kept(path), "rb") as file:
            return file.read()


def _serve_imports(served):
    """Let modules of the manifest be found and read as they were."""
    external = sys.modules["_frozen_importlib_external"]
    loader = external.SourceFileLoader
    own_code, own_data = loader.get_code, loader.get_data

    def get_code(self, fullname):
        path = served.find(self.path)
        if path is None:
            return own_code(self, fullname)
        if served.is_as_it_was(path):
            try:
                code = own_code(self, fullname)
            except Exception:  # edited while it was read
                if served.is_as_it_was(path):
                    raise
            else:
                if served.is_as_it_was(path):
                    return code
        return self.source_to_code(served.read(path), self.path)

    def get_data(self, path):
        found = served.find(path)
        if found is None or served.is_as_it_was(found):
            return own_data(self, path)
        return served.read(found)

    loader.get_code, loader.get_data = get_code, get_data
    sys.meta_path.insert(0, _Finder(served))


class _Finder:
    """Finds modules of the manifest that are no longer where they were."""

    def __init__(self, served):
        self.served = served

    def find_spec(self, fullname, path=None, target=None):
        tail = fullname.rpartition(".")[2]
        if tail not in self.served.names:
            return None
        entries = sys.path if path is None else path
        for i, entry in enumerate(entries):
            folder = entry if entry[:1] == "/" else os.path.abspath(entry or os.getcwd())
            base = folder.rstrip("/") + "/" + tail
            place = self._place(base, self.served.resolve(folder).rstrip("/") + "/" + tail)
            if place is not None:
                return None if self._is_found_by_others(place, base) else self._spec(fullname, place, base, entries[:i])
            if os.path.realpath(base) in self.served.folders and not os.path.isdir(base):
                spec = sys.modules["_frozen_importlib"].ModuleSpec(fullname, None, is_package=True)
                spec.submodule_search_locations.append(base)
                return spec
        return None

    def _place(self, base, resolved):
        """Return the file of a package or a module of the manifest; ``resolved`` is ``base`` without links above it."""
        if resolved in self.served.folders and self.served.find(base + "/__init__.py") is not None:
            return base + "/__init__.py"
        place = base + ".py"
        return place if resolved + ".py" in self.served.files or self.served.find(place) is not None else None

    def _is_found_by_others(self, place, base):
        """Whether it is still there, and no package that is new stands before it."""
        init = os.path.join(base, "__init__.py")
        return os.path.isfile(place) and (place == init or not os.path.isfile(init))

    def _spec(self, fullname, place, base, before):
        external = sys.modules["_frozen_importlib_external"]
        found = external.PathFinder.find_spec(fullname, before) if before else None
        if found is not None and found.loader is not None:
            return found
        folders = None if place == base + ".py" else [base]
        loader = external.SourceFileLoader(fullname, place)
        return external.spec_from_file_location(fullname, place, loader=loader, submodule_search_locations=folders)


def _serve_scripts(served):
    """Let scripts that are read as files be read as they were: those of processes that multiprocessing starts."""
    import io

    own_open = io.open_code

    def open_code(path):
        found = served.find(path) if isinstance(path, str) else None
        if found is None or served.is_as_it_was(found):
            return own_open(path)
        return io.BytesIO(served.read(found))

    io.open_code = open_code


def _serve_files(served):
    """Let files of the manifest that a program reads be as they were: configs, and source that is inspected."""
    import builtins
    import io

    own_open = io.open
    suffixes = tuple({os.path.splitext(path)[1] or path for path in served.files})

    def open_as_it_was(file, mode="r", *args, **options):
        if isinstance(mode, str) and not set(mode) & set("wax+") and not isinstance(file, int):
            path = os.fsdecode(file)
            if path.endswith(suffixes):
                found = served.find(path)
                if found is not None and not served.is_as_it_was(found):
                    file = served.kept(found)
        return own_open(file, mode, *args, **options)

    io.open = builtins.open = open_as_it_was


def _serve_main(served):
    """Let the script that this process is started with be run as it was.

    The interpreter opens it by itself, unless a path hook takes it for something that modules can be found in, such as
    a zip file: then it asks for a module ``__main__``.
    """
    given = sys.argv[0] if sys.argv else ""
    path = served.find(given) if given and given[0] != "-" else None
    if path is None or served.is_as_it_was(path):
        return
    main = _Main(served, path)
    sys.modules["_sweepline_main"] = main  # type: ignore[assignment]

    def hook(entry):  # the script as it was given, made absolute by newer interpreters
        if served.find(entry) != path:
            raise ImportError
        main.entry = entry
        return main

    main.hook = hook
    sys.path_hooks.insert(0, hook)


class _Main:
    """The one module of a script: what runpy asks for, and what it runs."""

    def __init__(self, served, path):
        self.served, self.path = served, path
        self.given, self.entry, self.hook = sys.argv[0], path, None

    def find_spec(self, name, target=None):
        if name != "__main__":
            return None
        return sys.modules["_frozen_importlib"].ModuleSpec(name, self, origin=self.entry)

    def create_module(self, spec):
        return None

    def is_package(self, name):
        return False

    def get_code(self, name):
        return compile("import sys; sys.modules.pop('_sweepline_main').run()", "<sweepline>", "exec")

    def run(self):
        """Do what the interpreter does with a script."""
        sys.path_hooks.remove(self.hook)  # type: ignore[arg-type]
        sys.path_importer_cache.pop(self.entry, None)
        folder = os.path.dirname(os.path.realpath(self.entry))
        if getattr(sys.flags, "safe_path", False):
            del sys.path[0]
        else:
            sys.path[0] = folder
        sys.argv[0] = self.given
        names = sys.modules["__main__"].__dict__
        del names["sys"]
        loader = sys.modules["_frozen_importlib_external"].SourceFileLoader("__main__", self.entry)
        names.update(__file__=self.entry, __loader__=loader, __spec__=None, __package__=None, __cached__=None)
        exec(compile(self.served.read(self.path), self.entry, "exec", dont_inherit=True), names)


def install():
    """Serve the code of the manifest that is named, and leave a mark beside it that tells the sweep so."""
    manifest = os.environ.get("SWEEPLINE_CODE", "")
    try:
        served = Served(manifest)
        if not os.path.exists(manifest + ".served"):
            os.close(os.open(manifest + ".served", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
    except OSError:  # in a container, on another machine: the sweep sees that nobody was served, and says so
        return
    _serve_imports(served)
    _serve_scripts(served)
    _serve_files(served)
    _serve_main(served)
