# frozen_string_literal: true

require "support"
require "apnsd"

class EndpointTest < Minitest::Test
  def test_a_url_is_taken_apart
    endpoint = Apnsd::Endpoint.new("https://me:p%40ss+word@push.example.com/rpc")
    connection = endpoint.connection
    assert_equal ["push.example.com", 443, true], [connection.address, connection.port, connection.use_ssl?]
    request = endpoint.request("<body/>")
    assert_equal "/rpc", request.path
    assert_equal "Basic #{["me:p@ss+word"].pack("m0")}", request["Authorization"]
    assert_equal "text/xml; charset=utf-8", request["Content-Type"]
  end

  def test_a_url_may_leave_out_port_and_path
    connection = Apnsd::Endpoint.new("http://[::1]").connection
    assert_equal ["::1", 80, false], [connection.address, connection.port, connection.use_ssl?]
    assert_equal "/", Apnsd::Endpoint.new("http://localhost:7077").request("").path
  end

  def test_no_password_is_shown
    assert_equal "https://push.example.com:443/rpc",
                 Apnsd::Endpoint.new("https://me:secret@push.example.com/rpc").to_s
    assert_equal "unix:/run/apnsd/apnsd.sock", Apnsd::Endpoint.new("unix:/run/apnsd/apnsd.sock").to_s
  end

  def test_without_a_url_the_environment_says_where_else_it_is_this_machine
    with_environment("APNSD_URL" => "http://there:1/") { assert_equal "http://there:1/", Apnsd::Endpoint.new(nil).to_s }
    with_environment("APNSD_URL" => "") { assert_equal "http://127.0.0.1:7077/", Apnsd::Endpoint.new(nil).to_s }
    with_environment("APNSD_URL" => nil) { assert_equal "http://127.0.0.1:7077/", Apnsd::Endpoint.new("").to_s }
  end

  def test_no_proxy_is_used_whatever_the_environment_says
    with_environment("http_proxy" => "http://proxy:8080/") do
      refute_predicate Apnsd::Endpoint.new("http://push.example.com/").connection, :proxy?
    end
  end

  def test_other_urls_are_refused_without_being_repeated
    ["localhost:7077", "ftp://host/", "http://", "http://me:secret@ho st/", "7077"].each do |url|
      error = assert_raises(Apnsd::InvalidArguments, url) { Apnsd::Endpoint.new(url) }
      assert_equal "url: http://host:port/, https://host:port/ or unix:/path/of/socket is needed", error.message
      assert_nil error.cause
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
