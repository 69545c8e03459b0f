"""A real HTTP origin for the demo: nginx where it is installed, else the standard library's server."""

import http.server
import shutil
import subprocess
import sys
from pathlib import Path

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 64; }}
http {{
  access_log off; default_type text/plain;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "hello $http_x_visitor, you asked for $request_uri\\n"; }}
  }}
}}
"""


class Hello(http.server.BaseHTTPRequestHandler):
    """Responds to every GET with the visitor's name as the gateway told it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"hello {self.headers.get('x-visitor', '')}, you asked for {self.path}\n".encode("latin-1")
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet: the demo prints what matters."""


def start(port: int, folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Starts the origin on 127.0.0.1 and returns its name and process; `folder` takes its files."""
    if nginx := shutil.which("nginx"):
        configuration = folder / "nginx.conf"
        configuration.write_text(NGINX.format(folder=folder, port=port))
        return "nginx", subprocess.Popen([nginx, "-p", str(folder), "-e", "stderr", "-c", str(configuration)])
    return "Python's http.server", subprocess.Popen([sys.executable, __file__, str(port)])


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hello).serve_forever()
