"""A TCP proxy that breaks: `cut` as a peer that is gone (what there was is closed, nobody is let in), `silence` as a cable that was pulled."""
import socket
import threading

from conftest import free_port


class Proxy:
    def __init__(self, target=None):
        self.target, self.port, self.pairs, self.is_cut = target, free_port(), [], False
        self.flows = threading.Event()
        self.flows.set()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            threading.Thread(target=self.join, args=(near,), daemon=True).start()

    def join(self, near):
        self.flows.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self.pairs.append((near, far))
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self.flows.wait()
                sink.sendall(data)
        except OSError:
            pass
        self.flows.wait()
        self.shut((source, sink))

    @staticmethod
    def shut(sockets):
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.is_cut = True
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            self.shut(pair)

    def silence(self):
        self.flows.clear()

    def mend(self):
        self.is_cut = False
        self.flows.set()

    def close(self):
        self.cut()
        self.flows.set()
        self.listener.close()
