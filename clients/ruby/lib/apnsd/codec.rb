# frozen_string_literal: true

require "xmlrpc/create"
require "xmlrpc/parser"
require "xmlrpc/config"
require "strscan"
require "timeout"

module Apnsd
  # XML-RPC as text: calls and answers, on the gem xmlrpc. What that gem takes or refuses by constants for the whole
  # process (nil, large integers) is decided here for this client alone.
  module Codec # :nodoc:
    # An answer is not XML-RPC.
    class Malformed < StandardError; end

    # Elements in one another.
    DEPTH_MAX = 64
    ELEMENT = %r{<(/)?([\w.]+)\s*(/)?>}
    ENTITIES = { "lt" => "<", "gt" => ">", "amp" => "&", "quot" => '"', "apos" => "'" }.freeze
    private_constant :DEPTH_MAX, :ELEMENT, :ENTITIES

    module_function

    # The text of a call. Raises InvalidArguments for what XML-RPC cannot say.
    def call(method, params)
      Create.new(Writer.new).methodCall(method, *params)
    rescue ArgumentError, EncodingError, RuntimeError, SystemStackError => e
      raise InvalidArguments, "#{method}: the arguments cannot be written as XML-RPC: #{e.message}"
    end

    # The value of an answer: names of members are symbols, times are Time in UTC. Raises the error of a fault, and
    # Malformed.
    def answer(text)
      heard = parse(text.dup.force_encoding(Encoding::UTF_8))
      raise Error.of_fault(heard.fault.faultCode, heard.fault.faultString) if heard.fault
      raise Malformed, "it has not one value, but #{heard.params.size}" unless heard.params.size == 1

      native(heard.params.first)
    end

    # What a Listener heard of a text of plain elements: daemons write no others, and what else XML has is what parsers
    # take too long for, or too much of.
    def parse(text)
      raise Malformed, "it is not text in UTF-8" unless text.valid_encoding?

      scanner = StringScanner.new(text)
      scanner.skip(/\s*<\?xml\s[^<>]*\?>/)
      listener = Listener.new
      open = []
      tell(listener, scanner, open) until scanner.eos?
      raise Malformed, "it ends too early" unless open.empty?

      listener
    rescue RuntimeError, NoMethodError, TypeError, ArgumentError => e # What the gem raises.
      raise if e.is_a?(Timeout::Error) # Somebody else's.

      raise Malformed, e.message
    end
    private_class_method :parse

    # Tells the listener of the next element or text.
    def tell(listener, scanner, open)
      return listener.character(characters(scanner)) unless scanner.skip(ELEMENT)

      closing, name, empty = [1, 2, 3].map { |number| scanner[number] }
      unless closing
        raise Malformed, "its elements are nested too deep" if open.size == DEPTH_MAX

        open.push(name)
        listener.startElement(name)
      end
      return unless closing || empty
      raise Malformed, "its elements do not match" unless open.pop == name

      listener.endElement(name)
    end
    private_class_method :tell

    def characters(scanner)
      text = scanner.scan(/[^<]+/)
      raise Malformed, "there is more than plain elements in it" unless text
      return text unless text.include?("&")

      text.gsub(/&(?:#(\d{1,7});|#x(\h{1,6});|(\w{1,4});)?/) do
        decimal, hexadecimal, name = Regexp.last_match.captures
        number = decimal&.to_i || hexadecimal&.hex
        character = number ? [number].pack("U") : ENTITIES.fetch(name, "\xFF")
        character.valid_encoding? ? character : raise(Malformed, "there is an unknown entity in it")
      end
    end
    private_class_method :characters

    def native(value)
      case value
      when Hash then value.to_h { |name, member| [name.to_sym, native(member)] }
      when Array then value.map { |element| native(element) }
      when XMLRPC::DateTime then value.to_time
      when String, Integer, Float, true, false, nil then value
      else raise Malformed, "there is a #{value.class} in it"
      end
    end
    private_class_method :native

    # Writes text in UTF-8, whatever its encoding was.
    class Writer < XMLRPC::XMLWriter::Simple
      def text(txt)
        super(txt.encode(Encoding::UTF_8))
      end
    end

    # Writes nil, and integers beyond 32 bits, and refuses what is not plain data.
    class Create < XMLRPC::Create
      INT32 = (-(2**31)...(2**31))

      private

      def conv2value(param)
        case param
        when nil then "<value><nil/></value>"
        when Integer then INT32.cover?(param) ? super : "<value><i8>#{param}</i8></value>"
        when String, Symbol, Float, true, false, Array, Hash, XMLRPC::Base64 then super
        else raise ArgumentError, "there is no form for #{param.class}"
        end
      end
    end

    # Hears of the parts of an answer. Reads nil, and makes no objects but plain data, which the gem does where a struct
    # has this name in it.
    class Listener
      include XMLRPC::XMLParser::StreamParserMixin

      OBJECT = "___class___"
      private_constant :OBJECT

      def startElement(name) # rubocop:disable Naming/MethodName -- the gem's name
        return super unless name == "nil"

        @data = nil
        @value = :nil # What the gem's own code puts here where nil is switched on.
      end

      def endElement(name) # rubocop:disable Naming/MethodName -- the gem's name
        super
        raise Malformed, "there is a member #{OBJECT}" if name == "name" && @name[0] == OBJECT
      end
    end
  end
end
