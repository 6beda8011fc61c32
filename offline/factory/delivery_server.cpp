#include "offline/factory/delivery_server.h"

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace beaverpond {
namespace {

constexpr std::size_t kMaxMessageBytes = 16 << 20;
constexpr std::size_t kPieceBytes = 256 << 10;

}  // namespace

struct DeliveryServer::State {
  explicit State(DeliveryServerOptions given)
      : options(std::move(given)),
        server([this](SSL_CTX& context) { return options.tls->configure(&context); }) {}

  void fail(httplib::Response& response, int status, const Error& error) const {
    response.status = status;
    response.set_content(std::string(to_string(error.code)) + ": " + error.message + "\n",
                         "text/plain");
    if (options.on_failure) options.on_failure(error.message);
  }

  void sync(const httplib::Request& request, httplib::Response& response) {
    const auto player = options.tls->peer_of(request.ssl);
    if (!player.has_value()) return fail(response, 403, stranger());
    const auto decoded = decode_sync_request(request.body);
    if (!decoded.ok()) return fail(response, 400, decoded.error());
    const auto answer = options.spool->sync_blocking(static_cast<int>(*player), *decoded);
    if (!answer.ok()) return fail(response, 500, answer.error());
    response.set_content(encode_sync_answer(*answer), "text/plain");
  }

  void segment(const httplib::Request& request, httplib::Response& response) {
    const auto player = options.tls->peer_of(request.ssl);
    if (!player.has_value()) return fail(response, 403, stranger());
    const auto what = parse_lane_range(request.matches[1]);
    if (!what.has_value()) {
      return fail(response, 400, make_error(ErrorCode::kConfig, "not the path of a segment"));
    }
    auto opened = options.spool->open(static_cast<int>(*player), *what);
    if (!opened.ok()) return fail(response, 404, opened.error());
    const std::shared_ptr<StorageFile> file = std::move(*opened);
    const auto size = file->size();
    if (!size.ok()) return fail(response, 500, size.error());
    response.set_content_provider(
        *size, "application/octet-stream",
        [file, memory = std::make_shared<std::vector<std::uint8_t>>(kPieceBytes)](
            std::size_t offset, std::size_t length, httplib::DataSink& sink) {
          const std::span piece = std::span(*memory).first(std::min(length, kPieceBytes));
          const auto read = file->read_at(offset, piece);
          if (!read.ok() || *read == 0) return false;
          return sink.write(reinterpret_cast<const char*>(piece.data()), *read);
        });
  }

  static Error stranger() {
    return make_error(ErrorCode::kRosterMismatch, "the certificate is not of a player");
  }

  DeliveryServerOptions options;
  httplib::SSLServer server;
  std::thread thread;
  std::atomic<bool> ended = false;
  std::uint16_t port = 0;
};

DeliveryServer::DeliveryServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

DeliveryServer::~DeliveryServer() {
  if (!state_->thread.joinable()) return;
  state_->server.stop();
  state_->thread.join();
}

std::uint16_t DeliveryServer::port() const {
  return state_->port;
}

Result<std::unique_ptr<DeliveryServer>> DeliveryServer::start(DeliveryServerOptions options) {
  BP_CHECK(options.tls != nullptr && options.spool != nullptr, "what a delivery needs");
  auto state = std::make_unique<State>(std::move(options));
  State* const self = state.get();
  httplib::SSLServer& server = state->server;
  if (!server.is_valid()) {
    return make_error(ErrorCode::kConfig,
                      "the factory's key does not belong to its certificate; make both with "
                      "`beaverpond keygen --home HOME --name factory`");
  }
  // Enough for every player of a large roster to download at once.
  server.new_task_queue = [] { return new httplib::ThreadPool(16); };
  server.set_payload_max_length(kMaxMessageBytes);
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.set_tcp_nodelay(true);
  server.Post("/v1/sync", [self](const httplib::Request& request, httplib::Response& response) {
    self->sync(request, response);
  });
  server.Get("/v1/segments/([0-9a-f/.segln-]+)",
             [self](const httplib::Request& request, httplib::Response& response) {
               self->segment(request, response);
             });
  const DeliveryServerOptions& given = state->options;
  const int port = given.port == 0 ? server.bind_to_any_port(given.host)
                   : server.bind_to_port(given.host, given.port) ? given.port
                                                                 : -1;
  if (port <= 0) {
    return make_error(ErrorCode::kIo, "cannot listen on " + given.host + ":" +
                                          std::to_string(given.port) +
                                          " for delivery; another program may have the port: "
                                          "choose one with delivery.listen");
  }
  state->port = static_cast<std::uint16_t>(port);
  state->thread = std::thread([self] {
    self->server.listen_after_bind();
    self->ended = true;
  });
  // A stop before it runs would be lost.
  while (!server.is_running() && !state->ended) std::this_thread::yield();
  return std::unique_ptr<DeliveryServer>(new DeliveryServer(std::move(state)));
}

}  // namespace beaverpond
