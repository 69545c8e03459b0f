"""Real servers of files, each with its own way to read a path; started on free ports, stopped exactly."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .net import Address, free_port
from .services import wait_for_port

FileServer = Callable[[Path, Path], contextlib.AbstractContextManager[Address]]
"""Given a folder to work in and the folder to serve, gives its address."""

_NGINX = """
daemon off; pid {work}/nginx.pid; error_log {work}/error.log; worker_processes 1;
events {{}}
http {{
  access_log off; client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; index index.html; }}
}}
"""

_APACHE = """
ServerRoot {work}
PidFile {work}/apache.pid
ErrorLog {work}/error.log
DefaultRuntimeDir {work}
Listen 127.0.0.1:{port}
ServerName gate.test
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
TypesConfig /etc/mime.types
DocumentRoot {root}
AllowEncodedSlashes On
DirectoryIndex index.html
<Directory {root}>
  Require all granted
</Directory>
"""

_NODE = """
const http = require('http'), fs = require('fs'), path = require('path');
const readings = {
  // what follows `//` is a host to a resolver of references, and `\\` is a slash
  url: (target) => new URL(target, 'http://gate.test').pathname,
  split: (target) => target.split('?')[0],
};
const [port, root, reading] = process.argv.slice(2);
http.createServer((request, response) => {
  try {
    const asked = path.posix.normalize('/' + decodeURIComponent(readings[reading](request.url)));
    const file = fs.statSync(path.join(root, asked)).isDirectory() ? path.join(asked, 'index.html') : asked;
    response.end(fs.readFileSync(path.join(root, file)));
  } catch (error) {
    response.statusCode = 404;
    response.end();
  }
}).listen(Number(port), '127.0.0.1');
"""

_TOMCAT = """
<Server port="-1">
  <Service name="Catalina">
    <Connector port="{port}" address="127.0.0.1" protocol="HTTP/1.1" encodedSolidusHandling="decode"
      relaxedPathChars="\\|" />
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="{work}/none" autoDeploy="false" deployOnStartup="false">
        <Context path="" docBase="{root}" />
      </Host>
    </Engine>
  </Service>
</Server>
"""

_TOMCAT_WEB = """
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
  <servlet><servlet-name>default</servlet-name>
    <servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class></servlet>
  <servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
  <welcome-file-list><welcome-file>index.html</welcome-file></welcome-file-list>
</web-app>
"""


@contextlib.contextmanager
def nginx(work: Path, root: Path) -> Iterator[Address]:
    """nginx: decodes `%2F`, merges `//`, resolves dots after that."""
    port = free_port()
    configuration = work / "nginx.conf"
    configuration.write_text(_NGINX.format(work=work, root=root, port=port))
    command = [_program("nginx"), "-p", str(work), "-e", str(work / "error.log"), "-c", str(configuration)]
    with _running(command, port, work) as address:
        yield address


@contextlib.contextmanager
def apache(work: Path, root: Path) -> Iterator[Address]:
    """Apache httpd with encoded slashes allowed."""
    port = free_port()
    configuration = work / "apache.conf"
    configuration.write_text(_APACHE.format(work=work, root=root, port=port))
    command = [_program("apache2"), "-f", str(configuration), "-DFOREGROUND"]
    with _running(command, port, work) as address:
        yield address


@contextlib.contextmanager
def node_url(work: Path, root: Path) -> Iterator[Address]:
    """Node.js, reading the target as a reference (`new URL(request.url, base)`)."""
    with _node(work, root, "url") as address:
        yield address


@contextlib.contextmanager
def node_split(work: Path, root: Path) -> Iterator[Address]:
    """Node.js, reading the target by hand: cut at `?`, decoded whole."""
    with _node(work, root, "split") as address:
        yield address


@contextlib.contextmanager
def python(work: Path, root: Path) -> Iterator[Address]:
    """Python's `http.server`."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "-d", str(root)]
    with _running(command, port, work) as address:
        yield address


@contextlib.contextmanager
def tomcat(work: Path, root: Path) -> Iterator[Address]:
    """Tomcat's default servlet: cuts off `;parameters`; told to decode `%2F`."""
    home = Path("/usr/share/tomcat10")
    if not (home / "bin/bootstrap.jar").exists():
        raise FileNotFoundError("no Tomcat here; hint: `make services` installs what the tests talk to")
    port = free_port()
    (work / "conf").mkdir()
    (work / "temp").mkdir()
    (work / "conf/server.xml").write_text(_TOMCAT.format(work=work, root=root, port=port))
    (work / "conf/web.xml").write_text(_TOMCAT_WEB)
    jars = f"{home}/bin/bootstrap.jar:{home}/bin/tomcat-juli.jar"
    places = [f"-Dcatalina.home={home}", f"-Dcatalina.base={work}", f"-Djava.io.tmpdir={work / 'temp'}"]
    command = [_program("java"), "-cp", jars, *places, "org.apache.catalina.startup.Bootstrap", "start"]
    with _running(command, port, work) as address:
        yield address


@contextlib.contextmanager
def _node(work: Path, root: Path, reading: str) -> Iterator[Address]:
    port = free_port()
    program = work / "server.js"
    program.write_text(_NODE)
    with _running([_program("node"), str(program), str(port), str(root), reading], port, work) as address:
        yield address


@contextlib.contextmanager
def _running(command: Sequence[str], port: int, work: Path) -> Iterator[Address]:
    log = work / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        wait_for_port(port, process, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin:/bin")
    if found is None:
        raise FileNotFoundError(f"no {name} here; hint: `make services` installs what the tests talk to")
    return found
