#include "offline/factory/status_server.h"

#include <httplib.h>

#include <atomic>
#include <thread>

#include "offline/factory/metrics.h"
#include "offline/factory/report.h"
#include "offline/factory/status_page.h"

namespace beaverpond {
namespace {

/// A web page from elsewhere may point a name of its own at this host (DNS rebinding) and read what
/// a browser here fetches: only names that are this host's are answered.
bool is_local(std::string host) {
  const std::size_t colon = host.rfind(':');
  if (colon != std::string::npos && host.back() != ']') host.resize(colon);
  return host == "127.0.0.1" || host == "localhost" || host == "[::1]";
}

void answer(httplib::Response& response, int code, const std::string& body, const char* type) {
  response.status = code;
  response.set_content(body, type);
}

}  // namespace

struct StatusServer::State {
  httplib::Server server;
  std::thread thread;
  std::atomic<bool> ended = false;
  std::string url;
};

StatusServer::StatusServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

StatusServer::~StatusServer() {
  if (!state_->thread.joinable()) return;
  state_->server.stop();
  state_->thread.join();
}

std::string StatusServer::url() const {
  return state_->url;
}

Result<std::unique_ptr<StatusServer>> StatusServer::start(const ListenAddress& address,
                                                          const StatusBoard& board) {
  auto state = std::make_unique<State>();
  httplib::Server& server = state->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(4); };
  server.set_payload_max_length(0);
  // The library's default also sets SO_REUSEPORT: two factories would share the port unnoticed.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.set_default_headers(
      {{"Cache-Control", "no-store"},
       {"X-Content-Type-Options", "nosniff"},
       {"Content-Security-Policy",
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:"}});
  server.set_pre_routing_handler([](const httplib::Request& request, httplib::Response& response) {
    if (is_local(request.get_header_value("Host"))) {
      return httplib::Server::HandlerResponse::Unhandled;
    }
    answer(response, 403, "ask by the address 127.0.0.1 or the name localhost\n", "text/plain");
    return httplib::Server::HandlerResponse::Handled;
  });
  server.Get("/healthz", [&board](const httplib::Request&, httplib::Response& response) {
    const bool alive = board.seconds_since_beat() < kStuckSeconds;
    answer(response, alive ? 200 : 503, alive ? "ok\n" : "the serving thread is stuck\n",
           "text/plain");
  });
  server.Get("/readyz", [&board](const httplib::Request&, httplib::Response& response) {
    const std::string why_not = why_not_ready(board.read());
    answer(response, why_not.empty() ? 200 : 503, why_not.empty() ? "ready\n" : why_not + "\n",
           "text/plain");
  });
  server.Get("/metrics", [&board](const httplib::Request&, httplib::Response& response) {
    answer(response, 200, metrics_text(board.read()), "text/plain; version=0.0.4");
  });
  server.Get("/status.json", [&board](const httplib::Request&, httplib::Response& response) {
    answer(response, 200, status_json(board.read()), "application/json");
  });
  server.Get("/", [&board](const httplib::Request&, httplib::Response& response) {
    answer(response, 200, status_page(status_json(board.read())), "text/html; charset=utf-8");
  });
  const int port = address.port == 0 ? server.bind_to_any_port(address.host)
                   : server.bind_to_port(address.host, address.port) ? address.port
                                                                     : -1;
  if (port <= 0) {
    return make_error(ErrorCode::kIo, "cannot listen on " + address.host + ":" +
                                          std::to_string(address.port) +
                                          " for the status; another program may have the port: "
                                          "choose one with status");
  }
  const bool v6 = address.host.find(':') != std::string::npos;
  state->url =
      "http://" + (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(port) + "/";
  state->thread = std::thread([&server, &ended = state->ended] {
    server.listen_after_bind();
    ended = true;
  });
  // A stop before it runs would be lost.
  while (!server.is_running() && !state->ended) std::this_thread::yield();
  return std::unique_ptr<StatusServer>(new StatusServer(std::move(state)));
}

Result<std::string> fetch_blocking(const ListenAddress& address, const std::string& path) {
  httplib::Client client(address.host, address.port);
  client.set_connection_timeout(5);
  client.set_read_timeout(10);
  const httplib::Result answered = client.Get(path);
  const std::string place = address.host + ":" + std::to_string(address.port);
  if (!answered) {
    return make_error(ErrorCode::kIo, "nobody answers at " + place + " (" +
                                          httplib::to_string(answered.error()) +
                                          "); start triple-factory serve with a status address");
  }
  if (answered->status != 200) {
    return make_error(ErrorCode::kConfig, place + path + " answers " +
                                              std::to_string(answered->status) +
                                              "; check that it is a factory's status address");
  }
  return answered->body;
}

}  // namespace beaverpond
