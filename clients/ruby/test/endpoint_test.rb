# frozen_string_literal: true

require "support"
require "apnsd"

class EndpointTest < Minitest::Test
  def test_a_request_is_the_text_that_daemons_expect
    assert_equal "POST /rpc?a=b HTTP/1.1\r\nHost: push.example.com:443\r\n" \
                 "User-Agent: apnsd-ruby/#{Apnsd::VERSION}\r\n" \
                 "Authorization: Basic #{["me:p@ss+word"].pack("m0")}\r\nAccept-Encoding: identity\r\n" \
                 "Content-Type: text/xml; charset=utf-8\r\nContent-Length: 8\r\n\r\n<body/>\n",
                 Apnsd::Endpoint.new("https://me:p%40ss+word@push.example.com/rpc?a=b").request("<body/>\n")
    assert_match(%r{\APOST / HTTP/1\.1\r\nHost: \[::1\]:80\r\n}, Apnsd::Endpoint.new("http://[::1]").request(""))
    refute_match(/Authorization/, Apnsd::Endpoint.new("unix:/run/apnsd/apnsd.sock").request(""))
  end

  def test_nothing_secret_is_shown
    endpoint = Apnsd::Endpoint.new("https://me:secret@push.example.com/rpc?key=secret")
    assert_equal "https://push.example.com:443/rpc", endpoint.to_s
    assert_equal "#<Apnsd::Endpoint https://push.example.com:443/rpc>", endpoint.inspect
    assert_equal "#<Apnsd::Transport https://push.example.com:443/rpc>", Apnsd::Transport.new(endpoint, 1).inspect
    assert_equal "unix:/run/apnsd/apnsd.sock", Apnsd::Endpoint.new("unix:/run/apnsd/apnsd.sock").to_s
  end

  def test_without_a_url_the_environment_says_where_else_it_is_this_machine
    with_environment("APNSD_URL" => "http://there:1/") { assert_equal "http://there:1/", Apnsd::Endpoint.new(nil).to_s }
    with_environment("APNSD_URL" => "") { assert_equal "http://127.0.0.1:7077/", Apnsd::Endpoint.new(nil).to_s }
    with_environment("APNSD_URL" => nil) { assert_equal "http://127.0.0.1:7077/", Apnsd::Endpoint.new("").to_s }
  end

  def test_no_proxy_is_used_whatever_the_environment_says
    server = TCPServer.new("127.0.0.1", 0)
    with_environment("http_proxy" => "http://127.0.0.1:1/") do
      Apnsd::Endpoint.new("http://127.0.0.1:#{server.addr[1]}/").connect(Apnsd::Deadline.new(5)).close
    end
    assert_equal "", server.accept.read
  ensure
    server.close
  end

  def test_a_unix_socket_for_which_too_many_wait_is_waited_for
    Dir.mktmpdir do |directory|
      path = File.join(directory, "full.sock")
      server = UNIXServer.new(path)
      server.listen(0)
      first = UNIXSocket.new(path)
      endpoint = Apnsd::Endpoint.new("unix:#{path}")
      assert_raises(Apnsd::Deadline::Passed) { endpoint.connect(Apnsd::Deadline.new(0.1)) }
      waiting = Thread.new { endpoint.connect(Apnsd::Deadline.new(10)) }
      server.accept.close
      waiting.value.close
      first.close
    end
  end

  def test_other_urls_are_refused_without_being_repeated
    ["localhost:7077", "ftp://host/", "http://", "http://me:secret@ho st/", "7077"].each do |url|
      error = assert_raises(Apnsd::InvalidArguments, url) { Apnsd::Endpoint.new(url) }
      assert_equal "url: http://host:port/, https://host:port/ or unix:/path/of/socket is needed", error.message
      assert_nil error.cause
    end
  end

  def test_a_path_that_cannot_be_a_socket_is_refused
    { "unix:" => "url: the path of the socket is missing: unix:/path/of/socket",
      "unix:/#{"x" * 200}" => "url: the path of the socket is too long: /#{"x" * 200}" }.each do |url, text|
      assert_equal text, assert_raises(Apnsd::InvalidArguments) { Apnsd::Endpoint.new(url) }.message
    end
  end

  private

  def with_environment(variables)
    before = variables.to_h { |name, _| [name, ENV.fetch(name, nil)] }
    ENV.update(variables)
    yield
  ensure
    ENV.update(before)
  end
end
