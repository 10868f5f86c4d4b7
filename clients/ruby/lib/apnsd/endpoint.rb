# frozen_string_literal: true

require "net/http"
require "socket"
require "uri"

module Apnsd
  # Where the daemon is: +http://+ and +https://+ URLs, with user and password where it wants them, and +unix:/path+.
  class Endpoint # :nodoc:
    DEFAULT = "http://127.0.0.1:7077/"

    # Without a URL the environment variable APNSD_URL tells, else it is this machine.
    def initialize(url)
      given = [url, ENV.fetch("APNSD_URL", nil)].map(&:to_s).find { |each| !each.empty? } || DEFAULT
      @socket = given.delete_prefix("unix:") if given.start_with?("unix:")
      @uri = @socket ? URI("http://localhost/") : parsed(given)
      @credentials = [@uri.user, @uri.password].map { |part| decoded(part) } if @uri.user
    end

    # A connection that is not open yet. No proxy is used, whatever the environment says.
    def connection
      return UnixConnection.new("localhost", nil, nil).at(@socket) if @socket

      connection = Net::HTTP.new(@uri.hostname, @uri.port, nil)
      connection.use_ssl = @uri.is_a?(URI::HTTPS)
      connection
    end

    # A request with this body.
    def request(body)
      request = Net::HTTP::Post.new(@uri.request_uri, HEADERS)
      request.basic_auth(*@credentials) if @credentials
      request.body = body
      request
    end

    # Without the password.
    def to_s
      return "unix:#{@socket}" if @socket

      "#{@uri.scheme}://#{@uri.host}:#{@uri.port}#{@uri.request_uri}"
    end

    HEADERS = {
      "Content-Type" => "text/xml; charset=utf-8",
      "Accept-Encoding" => "identity",
      "User-Agent" => "apnsd-ruby/#{VERSION}"
    }.freeze
    private_constant :HEADERS

    private

    def decoded(part)
      URI.decode_www_form_component(part.to_s.gsub("+", "%2B"))
    end

    # A URL that is no good is not repeated: it may hold a password.
    def parsed(url)
      uri = URI(url)
      return uri if uri.is_a?(URI::HTTP) && !uri.host.to_s.empty?

      raise URI::InvalidURIError
    rescue URI::InvalidURIError
      raise InvalidArguments, "url: http://host:port/, https://host:port/ or unix:/path/of/socket is needed", cause: nil
    end

    # HTTP through a unix socket.
    class UnixConnection < Net::HTTP
      def at(path)
        @path = path
        self
      end

      private

      # Net::HTTP calls this where it would connect over TCP.
      def connect
        @socket = Net::BufferedIO.new(UNIXSocket.new(@path), read_timeout: @read_timeout, write_timeout: @write_timeout)
        on_connect
      end
    end
    private_constant :UnixConnection
  end
end
