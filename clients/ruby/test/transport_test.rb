# frozen_string_literal: true

require "support"
require "scripted_server"
require "apnsd"
require "openssl"
require "tempfile"

class TransportTest < Minitest::Test
  include ScriptedServer

  def test_a_call_on_a_connection_that_breaks_is_made_again_as_it_was
    with_server([OK, :close, OK]) do |client, requests|
      2.times { client.notify("a", "aa", HELLO) }
      assert_equal 3, requests.size
      assert_equal requests[1].body, requests[2].body
      assert_equal [1, 1, 2], requests.map(&:connection)
      refute_equal requests[0].body, requests[1].body
    end
  end

  def test_a_connection_that_breaks_twice_is_an_error_with_all_to_make_the_call_again
    with_server([OK, :close, :close, OK]) do |client, requests|
      client.notify("a", "aa", HELLO)
      error = assert_raises(Apnsd::ConnectionFailed) { client.notify("a", "bb", HELLO) }
      assert_equal [nil, 0], [error.code, error.accepted]
      assert_kind_of EOFError, error.cause
      assert_includes requests[1].body, error.request_id
      assert_equal 3, requests.size
    end
  end

  def test_half_an_answer_is_a_broken_connection
    with_server([:half, OK]) do |client, requests|
      assert_nil client.notify("a", "aa", HELLO)
      assert_equal 2, requests.size
    end
  end

  def test_a_call_without_an_answer_in_time_is_not_made_again
    with_server([:silence], timeout: 0.2) do |client, requests|
      error = assert_raises(Apnsd::ConnectionFailed) { client.notify("a", "aa", HELLO, request_id: "r") }
      assert_match(/: no answer within 0\.2 seconds\z/, error.message)
      assert_equal "r", error.request_id
      assert_equal 1, requests.size
    end
  end

  def test_an_answer_that_trickles_is_not_in_time_whatever_it_is_that_trickles
    chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    { "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" => "<", "" => "H", "HTTP/1.1 200 OK\r\n" => "X: y\r\n",
      "HTTP/1.1 100 Continue\r\n\r\n" => "HTTP/1.1 100 Continue\r\n\r\n", chunked => "1\r\n<\r\n",
      "#{chunked}5;" => "x", "#{chunked}0\r\n" => "X: y\r\n" }.each do |beginning, part|
      with_server([endless(beginning, part)], timeout: 0.2) do |client, requests|
        error = assert_raises(Apnsd::ConnectionFailed) { client.notify("a", "aa", HELLO) }
        assert_match(/: no answer within 0\.2 seconds\z/, error.message)
        assert_equal 1, requests.size
      end
    end
  end

  def test_an_answer_without_end_is_refused
    { "HTTP/1.1 200 OK\r\n" => "X: #{"y" * 10_000}\r\n", "HTTP/1.1 200 OK\r\nX: " => "y" * 10_000,
      "" => "HTTP/1.1 100 #{"y" * 10_000}\r\n\r\n" }.each do |beginning, part|
      assert_refused(/: its headers do not end /, endless(beginning, part))
    end
    much = "x" * (4 << 20)
    { "HTTP/1.1 200 OK\r\n\r\n" => much, "HTTP/1.1 200 OK\r\nContent-Length: #{(64 << 20) + 1}\r\n\r\n" => much,
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" => "400000\r\n#{much}\r\n" }.each do |beginning, part|
      assert_refused(/: its answer is larger than 64 MiB /, endless(beginning, part))
    end
  end

  def test_an_answer_that_is_not_http_is_refused
    ["Content-Length: abc", "Content-Length: -5", "Content-Length: 1\r\nContent-Length: 2", "Transfer-Encoding: gzip",
     "  folded", "Transfer-Encoding: chunked\r\n\r\nzz", "Transfer-Encoding: chunked\r\n\r\n1\r\n<not 1"].each do |head|
      assert_refused(/\(Apnsd::Connection::Malformed\); is this the URL of apnsd\?\z/,
                     "HTTP/1.1 200 OK\r\n#{head}\r\n\r\n")
    end
    assert_refused(/\(Apnsd::Connection::Malformed\)/, "HTTP/2 200 OK\r\n\r\n")
  end

  def test_an_answer_of_another_shape_is_refused
    entry = struct(token: "aa")
    { %w[deliver a aa {}] => ["<nil/>", "x", list, list("x"), list(entry)],
      %w[notify a aa {}] => ["x"], %w[provision a] => ["<int>1</int>"], %w[deprovision a] => ["<nil/>"],
      %w[feedback a] => ["<nil/>", "x", list("x"), list(list("x", "aa"))],
      %w[apps] => ["x", "<nil/>", list("x")], %w[status a] => ["x", list],
      %w[rejections a] => ["<nil/>", struct, struct(cursor: "1"), struct(feedback: list(entry), cursor: "1"),
                           struct(rejections: list(entry), cursor: "0")],
      %w[feedback_after a] => ["<nil/>", struct(rejections: list(entry), cursor: "1"),
                               struct(feedback: list(entry), cursor: "0")] }.each do |call, values|
      settings = call[0] == "provision" ? { certificate: "c", environment: "e" } : {}
      with_server(values.map { |value| ScriptedServer.answer(value) }) do |client, _|
        values.each do |value|
          error = assert_raises(Apnsd::ConnectionFailed, value) { client.public_send(*call, **settings) { nil } }
          assert_match(/: what it answered is no answer to [a-z.]+; is this the URL of apnsd\?\z/, error.message)
        end
      end
    end
  end

  def test_answers_of_every_length_are_read
    body = OK[/<.*/m]
    with_server(["HTTP/1.1 100 Continue\r\n\r\n#{OK}",
                 "HTTP/1.1 200\r\ntransfer-encoding: Chunked\r\n\r\n" \
                 "a;x=y\r\n#{body[0, 10]}\r\n#{format("%X", body.size - 10)} \r\n#{body[10..]}\r\n0\r\nX: y\r\n\r\n",
                 OK.sub("\r\n", "\r\nConnection: Close\r\n"),
                 OK.sub("HTTP/1.1", "HTTP/1.0"), OK]) do |client, requests|
      5.times { client.notify("a", "aa", HELLO) }
      assert_equal [1, 1, 1, 2, 3], requests.map(&:connection)
    end
    with_server(["HTTP/1.1 200 OK\r\nContent-Range: x\r\n\r\n#{body}".each_line, :close]) do |client, requests|
      assert_nil client.notify("a", "aa", HELLO)
      assert_equal 1, requests.size
    end
  end

  def test_an_answer_too_many_is_nobodys
    with_server([ScriptedServer.answer("<array><data></data></array>") * 2, OK]) do |client, requests|
      client.apps
      assert_nil client.notify("a", "aa", HELLO)
      assert_equal [1, 2], requests.map(&:connection)
    end
  end

  def test_the_timeout_of_somebody_else_is_not_taken_for_the_clients
    with_server([:silence]) do |client, _|
      error = assert_raises(Timeout::Error) { Timeout.timeout(0.1, Timeout::Error, "mine") { client.apps } }
      assert_equal "mine", error.message
    end
  end

  def test_an_app_that_is_gone_when_its_removal_is_repeated_was_removed
    gone = ScriptedServer.fault("<struct><member><name>faultCode</name><value><int>404</int></value></member>" \
                                "<member><name>faultString</name><value>no</value></member></struct>")
    with_server([:close, gone, gone]) do |client, requests|
      assert_nil client.deprovision("a")
      assert_equal 2, requests.size
      assert_raises(Apnsd::UnknownAppID) { client.deprovision("a") }
    end
  end

  def test_what_is_asked_of_the_daemon_to_wait_comes_on_top
    late = { seconds: 0.4, answer: ScriptedServer.answer(list(struct(token: "aa", outcome: "queued"))) }
    with_server([late], timeout: 0.2) do |client, requests|
      assert_equal [{ token: "aa", outcome: "queued" }], client.deliver("a", "aa", HELLO, timeout: 3)
      assert_includes requests[0].body, "<name>timeout</name><value><i4>3</i4></value>"
    end
  end

  def test_what_is_no_xml_rpc_server_is_told_with_what_it_said
    with_server(["HTTP/1.1 502 Bad Gateway\r\nContent-Length: 10\r\n\r\nnot there.",
                 "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nHi! "]) do |client, _|
      error = assert_raises(Apnsd::ConnectionFailed) { client.apps }
      assert_match(%r{\Ahttp://127.0.0.1:\d+/: it answered HTTP 502 Bad Gateway. not there.\z}, error.message)
      error = assert_raises(Apnsd::ConnectionFailed) { client.apps }
      assert_match(%r{\Ahttp://127.0.0.1:\d+/: what it answered is not XML-RPC: .*; is this the URL of apnsd\?\z},
                   error.message)
      assert_nil error.cause
    end
  end

  def test_each_status_is_the_error_it_stands_for
    { Apnsd::InvalidArguments => ["400 Bad Request", "413 Payload Too Large", "422 Unprocessable"],
      Apnsd::ServerTimeout => ["429 Too Many Requests", "503 Service Unavailable"],
      Apnsd::NotConfigured => ["401 Unauthorized", "403 Forbidden"],
      Apnsd::ConnectionFailed => ["204 No Content", "302 Found", "404 Not Found", "405 Method Not Allowed",
                                  "408 Request Timeout", "500 Internal Server Error", "502 Bad Gateway"] }
      .each do |kind, statuses|
        statuses.each do |status|
          with_server(["HTTP/1.1 #{status}\r\nContent-Length: 0\r\n\r\n"]) do |client, _|
            error = assert_raises(kind, status) { client.apps }
            assert_match(/: it answered HTTP #{status}\./, error.message)
            assert_nil error.code
            assert_equal %w[204 302 404 405].include?(status[0, 3]), error.message.include?("is this the URL of apnsd?")
          end
        end
      end
  end

  def test_what_the_daemon_never_answers_makes_one_ask_for_the_url
    ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"].each do |answer|
      assert_refused(/is this the URL of apnsd\?\z/, answer)
    end
  end

  def test_tls_to_a_port_without_it_makes_one_ask_for_the_url
    listener = TCPServer.new("127.0.0.1", 0)
    Thread.new { listener.accept.tap { |socket| socket.readpartial(1) && socket.write("HTTP/1.1 400 Bad\r\n\r\n") } }
    client = Apnsd::Client.new(url: "https://127.0.0.1:#{listener.addr[1]}")
    error = assert_raises(Apnsd::ConnectionFailed) { client.apps }
    assert_match(/wrong version number .*; is this the URL of apnsd\?\z/, error.message)
  ensure
    listener.close
  end

  def test_a_user_who_is_not_served_is_not_configured
    with_server(["HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nWrong token.",
                 "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"]) do |client, requests|
      error = assert_raises(Apnsd::NotConfigured) { client.notify("a", "aa", HELLO) }
      assert_match(%r{\Ahttp://127.0.0.1:\d+/: it answered HTTP 401 Unauthorized. Wrong token.\z}, error.message)
      assert_equal [nil, 0], [error.code, error.accepted]
      assert_raises(Apnsd::NotConfigured) { client.apps }
      assert_equal 2, requests.size
    end
  end

  def test_nobody_there_is_an_error_with_its_cause
    server = TCPServer.new("127.0.0.1", 0)
    port = server.addr[1]
    server.close
    error = assert_raises(Apnsd::ConnectionFailed) { Apnsd::Client.new(url: "http://127.0.0.1:#{port}/").apps }
    assert_kind_of Errno::ECONNREFUSED, error.cause
    assert_match(/is apnsd running there\?\z/, error.message)
    error = assert_raises(Apnsd::ConnectionFailed) { Apnsd::Client.new(url: "unix:/nowhere/apnsd.sock").apps }
    assert_kind_of Errno::ENOENT, error.cause
  end

  def test_over_tls_a_server_must_be_the_one_that_is_meant
    context, = identity
    with_server([OK], tls: context) do |client, requests|
      error = assert_raises(Apnsd::ConnectionFailed) { client.notify("a", "aa", HELLO) }
      assert_match(/certificate verify failed/, error.message)
      assert_empty requests
    end
  end

  def test_credentials_go_over_tls_to_a_server_that_is_trusted
    context, certificate = identity
    with_server([OK, OK], tls: context) do |_, requests|
      trusting(certificate, "c = Apnsd::Client.new(url: '#{@address}'); 2.times { c.notify('a', 'aa', {}) }")
      assert_equal ["Basic #{["me:pass"].pack("m0")}"] * 2, requests.map(&:authorization)
      assert_equal [1, 1], requests.map(&:connection)
    end
  end

  private

  def list(*values)
    "<array><data>#{values.map { |value| "<value>#{value}</value>" }.join}</data></array>"
  end

  def struct(**members)
    members = members.map { |name, value| "<member><name>#{name}</name><value>#{value}</value></member>" }
    "<struct>#{members.join}</struct>"
  end

  def assert_refused(text, answer)
    with_server([answer]) do |client, requests|
      assert_match(text, assert_raises(Apnsd::ConnectionFailed, answer.inspect) { client.apps }.message)
      assert_equal 1, requests.size
    end
  end

  # An answer of which one more part always comes.
  def endless(beginning, part)
    Enumerator.new do |parts|
      parts << beginning
      loop { parts << part }
    end
  end

  # Runs a program that takes this certificate for an authority: OpenSSL reads which it trusts once, at its start.
  def trusting(certificate, program)
    Tempfile.create("authority") do |file|
      File.write(file.path, certificate.to_pem)
      library = File.expand_path("../lib", __dir__)
      command = ["ruby", "-I", library, "-rapnsd", "-e", program]
      output, status = Open3.capture2e({ "SSL_CERT_FILE" => file.path }, *command)
      assert_predicate status, :success?, output
    end
  end

  # What a server is with a certificate of its own, and the certificate.
  def identity
    key = OpenSSL::PKey::EC.generate("prime256v1")
    certificate = signed(OpenSSL::X509::Certificate.new, key)
    context = OpenSSL::SSL::SSLContext.new
    context.add_certificate(certificate, key)
    [context, certificate]
  end

  def signed(certificate, key)
    certificate.version = 2
    certificate.serial = 1
    certificate.subject = certificate.issuer = OpenSSL::X509::Name.parse("/CN=localhost")
    certificate.public_key = key
    certificate.not_before = Time.now - 60
    certificate.not_after = Time.now + 600
    extensions = OpenSSL::X509::ExtensionFactory.new(certificate, certificate)
    certificate.add_extension(extensions.create_extension("basicConstraints", "CA:TRUE", true))
    certificate.add_extension(extensions.create_extension("subjectAltName", "DNS:localhost"))
    certificate.sign(key, "SHA256")
  end
end
