"""Everything that guards libapnsd: how it is built and installed, its tests as they are, under valgrind and sanitized.

`make check` runs it. The daemon is the one that APNSD names, else target/debug/apnsd of this repository.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE.parent))

from world import World  # noqa: E402

FUNCTIONS = {
    f"apnsd_{name}"
    for name in (
        *("open", "close", "provision", "deprovision", "notify", "notify_many", "send"),
        *("feedback", "rejections", "free", "error_name"),
    )
}
INSTALLED = {
    "include/apnsd.h",
    "lib/libapnsd.a",
    "lib/libapnsd.so",
    "lib/libapnsd.so.0",
    "lib/libapnsd.so.0.1.0",
    "lib/pkgconfig/apnsd.pc",
    *(f"share/man/man3/{name}.3" for name in {"apnsd", *FUNCTIONS}),
}
ADDRESS = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
THREAD = "-O1 -g -fsanitize=thread"
VALGRIND = ("valgrind", "-q", "--leak-check=full", "--errors-for-leak-kinds=all", "--error-exitcode=9")


def run(*command, **environment):
    """What a command prints; it must succeed."""
    done = subprocess.run(command, cwd=HERE, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def make(*arguments):
    return run("make", "-s", *arguments)


def defined(*nm):
    """The names of defined symbols that others can see."""
    return {line.split()[2].split("@")[0] for line in run(*nm).splitlines() if re.search(r" [BDRTV] ", line)}


def files(directory):
    """The files below a directory."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def play_tests(*command, **environment):
    """Runs the test program with a world on its standard input and output."""
    world = subprocess.Popen(
        [sys.executable, str(HERE.parent / "world.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    done = subprocess.run(
        command,
        cwd=HERE,
        env={**os.environ, **environment},
        stdin=world.stdout,
        stdout=world.stdin,
        stderr=subprocess.PIPE,
        text=True,
    )
    world.stdin.close()
    world.stdout.close()
    if world.wait() != 0 or done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stderr}")


class TheLibrary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        make("all")

    def test_it_compiles_without_a_warning(self):
        make("BUILD=build/strict", "CFLAGS=-O2 -Werror", "all", "build/strict/test", "build/strict/driver")

    def test_only_the_functions_of_the_header_are_exported(self):
        self.assertEqual(defined("nm", "-D", "--defined-only", "build/libapnsd.so.0"), FUNCTIONS)
        header = (HERE / "include/apnsd.h").read_text()
        self.assertEqual(set(re.findall(r"\b(apnsd_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S))), FUNCTIONS)

    def test_names_of_the_static_library_have_its_prefix(self):
        names = defined("nm", "-g", "--defined-only", "build/libapnsd.a")
        self.assertEqual({name for name in names if not name.startswith("apnsd_")}, set())

    def test_the_soname_is_that_of_version_0(self):
        self.assertIn("[libapnsd.so.0]", run("readelf", "-d", "build/libapnsd.so.0"))

    def test_the_header_is_for_c_and_cxx(self):
        strict = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only", "-Iinclude")
        settings = "struct apnsd_settings settings = APNSD_SETTINGS_INIT;"
        options = "struct apnsd_options options = APNSD_OPTIONS_INIT;"
        with tempfile.TemporaryDirectory() as directory:
            for compiler, standard, name in (("cc", "c99", "use.c"), ("c++", "c++11", "use.cc")):
                path = Path(directory, name)
                path.write_text(f"#include <apnsd.h>\n{settings}\n{options}\n")
                own = ("-Wold-style-cast",) if compiler == "c++" else ()
                run(compiler, f"-std={standard}", *strict, *own, str(path))

    def test_the_man_page_is_clean_and_names_every_function(self):
        self.assertEqual(run("mandoc", "-T", "lint", "man/apnsd.3"), "")
        page = (HERE / "man/apnsd.3").read_text()
        self.assertEqual(set(re.findall(r"^\.F[no] (\w+)", page, re.M)), FUNCTIONS)
        self.assertEqual(set(re.findall(r"^\.Nm (apnsd_\w+)", page, re.M)), FUNCTIONS)

    def test_the_example_of_the_readme_is_that_of_the_example_program(self):
        example = re.search(r"```c\n(.*?)```", (HERE / "README.md").read_text(), re.S)[1]
        program = (HERE / "examples/push.c").read_text()
        self.assertIn(example, re.sub(r"^    ", "", program, flags=re.M))


class AnInstallation(unittest.TestCase):
    def test_programs_are_built_with_it_and_nothing_of_it_stays(self):
        with tempfile.TemporaryDirectory() as root, World() as world:
            place = (f"DESTDIR={root}/of all", "PREFIX=/opt/a & b|c")
            make("install", *place)
            prefix = Path(root, "of all/opt/a & b|c")
            self.assertEqual(files(prefix), INSTALLED)
            page = run("mandoc", "-T", "ascii", f"{prefix}/share/man/man3/apnsd_notify.3")
            self.assertTrue(page.startswith("APNSD(3)"))

            search = {"PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig", "PKG_CONFIG_SYSROOT_DIR": f"{root}/of all"}
            self.assertEqual(run("pkg-config", "--modversion", "apnsd", **search).strip(), "0.1.0")
            shared = shlex.split(run("pkg-config", "--cflags", "--libs", "apnsd", **search))
            static = shlex.split(run("pkg-config", "--static", "--cflags", "--libs", "apnsd", **search))
            static[static.index("-lapnsd")] = "-l:libapnsd.a"
            for number, flags in enumerate((shared, static)):
                program = f"{root}/push-{number}"
                run("cc", "-std=c99", "-o", program, "examples/push.c", *flags)
                linked = "libapnsd.so.0" in run("readelf", "-d", program)
                self.assertEqual(linked, flags is shared)
                token = f"{number:064x}"
                run(program, world.certificate, token, APNSD_URL=world.url, LD_LIBRARY_PATH=f"{prefix}/lib")
                self.assertEqual(world.wait_arrived(number + 1)[-1]["token"], token)

            make("uninstall", *place)
            self.assertEqual(files(prefix), set())


class TheExample(unittest.TestCase):
    """What it says when something is wrong, and its exit status."""

    def push(self, world, certificate, **environment):
        """Sends a notification for a token of zeros."""
        command = ("build/push", certificate, 64 * "0")
        variables = {**os.environ, "APNSD_URL": world.url, **environment}
        done = subprocess.run(command, cwd=HERE, env=variables, capture_output=True, text=True)
        return done.returncode, done.stderr

    def test_it_tells_what_fails_and_sends_what_can_be_sent(self):
        make("all")
        libraries = run("sh", "-c", "xmlrpc-c-config client --libs && pkg-config --libs libcurl").split()
        run("cc", "-Iinclude", "-o", "build/push", "examples/push.c", "build/libapnsd.a", *libraries, "-pthread")
        with World() as world:
            status, told = self.push(world, "/nowhere.pem")
            self.assertEqual(status, 1)
            self.assertRegex(told, r"not provisioned: .*/nowhere\.pem.*\nnot sent: .*/nowhere\.pem.*\n\Z")
            self.assertEqual(self.push(world, world.certificate), (0, ""))
            status, told = self.push(world, world.expired_certificate)
            self.assertEqual(status, 0)
            self.assertRegex(told, r"\Anot provisioned: .*expired.*\n\Z")
            self.assertEqual(len(world.wait_arrived(2)), 2)
            status, told = self.push(world, world.certificate, APNSD_URL="localhost")
            self.assertEqual((status, told.split(":")[0]), (1, "InvalidArguments"))


class TheTests(unittest.TestCase):
    def test_they_pass_with_the_address_and_undefined_behaviour_sanitizers(self):
        make("BUILD=build/address", f"CFLAGS={ADDRESS}", "build/address/test")
        play_tests("build/address/test")

    def test_threads_pass_with_the_thread_sanitizer(self):
        make("BUILD=build/thread", f"CFLAGS={THREAD}", "build/thread/test")
        play_tests("build/thread/test", "threads")

    def test_they_pass_under_valgrind(self):
        make("build/test")
        play_tests(*VALGRIND, "build/test", TOKENS="20000")


if __name__ == "__main__":
    unittest.main(verbosity=2)
